"""More samplers: ILVR, on which Inversion-by-Inversion builds, its own accelerated one, time travel, and pruning."""

from __future__ import annotations

from typing import Any

from comfy.samplers import KSAMPLER
from comfy_api.latest import io

from ..samplers import ilvr, jump
from ..samplers.prune import PruneSampler
from ..samplers.travel import TravelSampler
from .parts import search
from .parts.checks import check_numbers, plain_samples
from .parts.inputs import window_inputs

WINDOW_TIP = (
    "as a fraction of the model's schedule, 0 (pure noise) to 1 (clean). On the starter prior, sampling from t0 0.4 "
    "covers 0.6 to 1. "
)


class SketchILVRSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchILVRSampler",
            display_name="ILVR Sampler",
            category="sketch/inversion",
            description="After every step, the coarse colours of a reference replace the sample's, and the model "
            "paints the details. Works with any model; shapes come from the latent that sampling starts from.",
            search_aliases=[
                *("ILVR", "low pass", "low frequency", "colour layout", "reference image", "Inversion-by-Inversion"),
            ],
            inputs=[
                io.Latent.Input(
                    "reference",
                    tooltip="The picture whose coarse colours are imposed, clean and VAE-encoded for the same model. "
                    "One, or as many as the latent. If its shape differs, it is cropped around its centre and resized.",
                ),
                io.Int.Input(
                    "grid",
                    default=8,
                    min=1,
                    max=512,
                    tooltip="Number of cells along the shorter side, 1 to 512 and at most the latent's size: how fine "
                    "a layout is imposed. 4 to 8 imposes colours and leaves shapes free; 32 nearly copies the "
                    "reference. The paper's N is the side divided by this.",
                ),
                *window_inputs(
                    "Where the replacement starts, " + WINDOW_TIP,
                    "Where it ends, " + WINDOW_TIP + "Ending at 0.8 to 0.9 lets the model blend the colours.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Mix of the coarse colours, 0 to 1. 1: those of the reference. 0: those of the latent "
                    "that sampling starts from.",
                ),
                io.Combo.Input(
                    "level",
                    options=list(ilvr.LEVELS),
                    advanced=True,
                    tooltip="Noise level of the reference. matched: that of the sample. published: one step noisier, "
                    "as in the released code, which leaves a little noise in the result.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "sampler", display_name="sampler", tooltip="For SamplerCustom or Repeat Sampler. Steps like ddpm."
                )
            ],
        )

    @classmethod
    def execute(
        cls, reference: dict[str, Any], grid: int, start: float, end: float, weight: float, level: str
    ) -> io.NodeOutput:
        check_numbers(start=start, end=end, weight=weight)
        samples = plain_samples(reference, "reference")
        if start >= end:
            raise ValueError(
                f"start ({start:g}) is not below end ({end:g}), so nothing would be replaced. Set start below end."
            )
        options = {"grid": grid, "start": start, "end": end, "weight": weight, "level": level}
        return io.NodeOutput(KSAMPLER(ilvr.sample_ilvr, {"reference": samples, **options}))


class SketchJumpSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchJumpSampler",
            display_name="Jump Sampler (accelerated)",
            category="sketch/inversion",
            description="The accelerated sampler of Inversion-by-Inversion: steps guided by the MODEL's energies at "
            "the start and in a few short groups, with long unguided DPM-Solver++ jumps in between. Made for many "
            "steps: 400 native levels take 102 model calls.",
            search_aliases=[
                *("DPM-Solver", "accelerated", "fast sampling", "guidance interval", "Inversion-by-Inversion", "jump"),
            ],
            inputs=[
                io.Float.Input(
                    "dense",
                    default=0.1225,
                    min=0.0,
                    max=1.0,
                    step=0.0025,
                    round=0.0001,
                    tooltip="Fraction of the steps at the start that are all guided, 0 to 1. Published: 0.1225 for "
                    "the shape energy alone, 0.2475 with colours too. 1 guides every step, like ddpm.",
                ),
                io.Int.Input(
                    "groups",
                    default=3,
                    min=0,
                    max=50,
                    tooltip="Number of short guided groups after that, evenly spaced, 0 to 50. Published: 3.",
                ),
                io.Float.Input(
                    "group_share",
                    default=0.01,
                    min=0.0,
                    max=0.5,
                    step=0.0025,
                    round=0.0001,
                    tooltip="Length of each group as a fraction of the steps, 0 (no groups) to 0.5; at least one "
                    "step. Published: 0.01, 4 of 400 steps.",
                ),
                io.Int.Input(
                    "calls",
                    default=10,
                    min=1,
                    max=100,
                    tooltip="Model calls per jump, 1 to 100, never more than the steps it skips. Published: 10. For "
                    "40 steps try 3 or 4.",
                ),
                io.Combo.Input(
                    "end",
                    options=list(jump.ENDS),
                    advanced=True,
                    tooltip="clean: the last jump ends with the model's prediction of the clean picture. noise left "
                    "in: it stops one level before 0, as in the released code, which leaves about 1% noise on native "
                    "levels.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "sampler",
                    display_name="sampler",
                    tooltip="For SamplerCustom or Repeat Sampler, with SIGMAS that end at 0. Guided steps are those "
                    "of ddpm.",
                )
            ],
        )

    @classmethod
    def execute(cls, dense: float, groups: int, group_share: float, calls: int, end: str) -> io.NodeOutput:
        check_numbers(dense=dense, group_share=group_share)
        options = {"dense": dense, "groups": groups, "share": group_share, "calls": calls, "end": end}
        return io.NodeOutput(KSAMPLER(jump.sample_jump, options))


class SketchTimeTravelSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTimeTravelSampler",
            display_name="Time Travel Sampler",
            category="sketch/inversion",
            description="Walks parts of the way several times: after some steps the sample is noised again, back to "
            "where they began. So energies and other guidance get more chances to agree with the model. Any model, any "
            "sampler.",
            search_aliases=[
                *("time travel", "resampling", "RePaint", "FreeDoM", "universal guidance", "self recurrence"),
                *("jump back", "renoise", "Inversion-by-Inversion", *search.INPAINT),
            ],
            inputs=[
                io.Sampler.Input(
                    "sampler",
                    tooltip="Any sampler that steps through SIGMAS: ddpm, euler, dpmpp_2m, ... Samplers that "
                    "remember earlier steps begin anew after each jump. Repeat Sampler goes after this node.",
                ),
                io.Int.Input(
                    "jumps",
                    default=2,
                    min=0,
                    max=20,
                    tooltip="How often each stretch is walked again, 0 to 20; 0: never, no change. Each time costs "
                    "as many model calls as the stretch has steps. FreeDoM: 2; universal guidance: up to 9.",
                ),
                io.Int.Input(
                    "length",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="Steps of a stretch, 1 to 1000: how far each jump leads back. 1 is usual for guidance; "
                    "RePaint jumps back 10 of 250 steps to blend masked pictures.",
                ),
                *window_inputs(
                    "From where on steps are walked again, " + WINDOW_TIP,
                    "Until where, " + WINDOW_TIP + "A short window in the middle costs less.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "travelling",
                    display_name="sampler",
                    tooltip="For SamplerCustom, Repeat Sampler or Shape Inversion.",
                )
            ],
        )

    @classmethod
    def execute(cls, sampler: Any, jumps: int, length: int, start: float, end: float) -> io.NodeOutput:
        check_numbers(start=start, end=end)
        if start >= end and jumps > 0:
            raise ValueError(
                f"start ({start:g}) is not below end ({end:g}), so no step would be walked again. Set start below end."
            )
        return io.NodeOutput(TravelSampler(sampler, jumps, length, start, end))


class SketchPruneSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPruneSampler",
            display_name="Prune Sampler",
            category="sketch/inversion",
            description="Begins with the whole batch and finishes only the best: on the way the half whose energies "
            "are worst leaves, several times. Eight variants, of which two are wanted, cost as much as five. The "
            "results are ranked, best first. Any model with energies, any sampler.",
            search_aliases=[
                *("prune", "best of many", "variants", "particles", "Feynman-Kac", "FK steering", "successive halving"),
                *("rank images", "select best", "Inversion-by-Inversion"),
            ],
            inputs=[
                io.Sampler.Input(
                    "sampler",
                    tooltip="Any sampler that steps through SIGMAS: ddpm, euler, dpmpp_2m, Time Travel Sampler, ... "
                    "Samplers that remember earlier steps begin anew after each halving.",
                ),
                io.Int.Input(
                    "keep",
                    default=2,
                    min=1,
                    max=64,
                    tooltip="Pictures that are finished, 1 to 64, best first. How many begin is the batch of the "
                    "LATENT (Repeat Latent Batch). With a batch of this size or smaller none leaves; they are only "
                    "ranked.",
                ),
                io.Float.Input(
                    "first_cut",
                    default=0.4,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="After what share of the steps the batch is halved for the first time, 0 to 1. Earlier is "
                    "cheaper, and says less about the end.",
                ),
                io.Float.Input(
                    "last_cut",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="After what share of the steps only the kept ones are left, first_cut to 1. Further "
                    "halvings lie evenly in between.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "pruning",
                    display_name="sampler",
                    tooltip="For SamplerCustom or Shape Inversion, whose MODEL has energies. Nothing goes around it.",
                )
            ],
        )

    @classmethod
    def execute(cls, sampler: Any, keep: int, first_cut: float, last_cut: float) -> io.NodeOutput:
        check_numbers(first_cut=first_cut, last_cut=last_cut)
        if first_cut > last_cut:
            raise ValueError(
                f"first_cut ({first_cut:g}) is above last_cut ({last_cut:g}). Set first_cut to at most last_cut."
            )
        return io.NodeOutput(PruneSampler(sampler, keep, first_cut, last_cut))


NODES = [SketchILVRSampler, SketchJumpSampler, SketchTimeTravelSampler, SketchPruneSampler]
