"""Doors to two more walks: ILVR, which Inversion-by-Inversion builds on, and its own accelerated one."""

from __future__ import annotations

from typing import Any

from comfy.samplers import KSAMPLER
from comfy_api.latest import io

from ..samplers import ilvr, jump

WINDOW_TIP = (
    "in shares of the model's own schedule, 0 (pure noise) to 1 (clean). On the starter prior a walk from t0 0.4 runs "
    "from 0.6 to 1. "
)


class SketchILVRSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchILVRSampler",
            display_name="ILVR Sampler",
            category="sketch/inversion",
            description="After every step the coarse colours of a reference replace the sample's own, and the model "
            "paints the details. For any model; the layout comes from the latent that the walk begins with.",
            search_aliases=[
                *("ILVR", "low pass", "low frequency", "colour layout", "reference image", "Inversion-by-Inversion"),
            ],
            inputs=[
                io.Latent.Input(
                    "reference",
                    tooltip="The picture whose coarse colours are imposed: clean, VAE-encoded for the same model. "
                    "Batch 1, or as many as the latent. Another shape is cut from its middle and resized.",
                ),
                io.Int.Input(
                    "grid",
                    default=8,
                    min=1,
                    max=512,
                    tooltip="Cells along the shorter side, 1 to 512 and no more than the latent has: how fine a layout "
                    "is imposed. 4 to 8 keeps colours and leaves shapes free, 32 nearly copies. (The paper's N is the "
                    "side divided by this.)",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where the replacement begins, " + WINDOW_TIP,
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where it ends, " + WINDOW_TIP + "Ending at 0.8 to 0.9 lets the model settle the colours.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="0 to 1: the colours of the reference (1) against those of the latent that the walk begins "
                    "with (0). In between, a mixture of both.",
                ),
                io.Combo.Input(
                    "level",
                    options=list(ilvr.LEVELS),
                    advanced=True,
                    tooltip="Noise level of the reference. matched: that of the sample. published: one step noisier, "
                    "as the released codes have it, which leaves a little noise in the result.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "sampler", display_name="sampler", tooltip="For SamplerCustom or the Repeat Sampler. Steps as ddpm."
                )
            ],
        )

    @classmethod
    def execute(
        cls, reference: dict[str, Any], grid: int, start: float, end: float, weight: float, level: str
    ) -> io.NodeOutput:
        if start >= end:
            raise ValueError(f"The window runs from {start:g} to {end:g}, so nothing is replaced. Set start below end.")
        options = {"grid": grid, "start": start, "end": end, "weight": weight, "level": level}
        return io.NodeOutput(KSAMPLER(ilvr.sample_ilvr, {"reference": reference["samples"], **options}))


class SketchJumpSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchJumpSampler",
            display_name="Jump Sampler (accelerated walk)",
            category="sketch/inversion",
            description="The accelerated walk of Inversion-by-Inversion: steps guided by the MODEL's energies at the "
            "start and in a few short groups, long unguided jumps of DPM-Solver++ between. Made for walks of many "
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
                    tooltip="Share of the walk, 0 to 1, that is guided step by step at its start. Published: 0.1225 "
                    "where only the shape pulls, 0.2475 where colours pull, too. 1 guides every step, as ddpm does.",
                ),
                io.Int.Input(
                    "groups",
                    default=3,
                    min=0,
                    max=50,
                    tooltip="Short guided groups further down, 0 to 50, at equal distances. Published: 3.",
                ),
                io.Float.Input(
                    "group_share",
                    default=0.01,
                    min=0.0,
                    max=0.5,
                    step=0.0025,
                    round=0.0001,
                    tooltip="Length of each group as a share of the walk, 0 (no groups) to 0.5; always at least one "
                    "step. Published: 0.01, 4 of 400 steps.",
                ),
                io.Int.Input(
                    "calls",
                    default=10,
                    min=1,
                    max=100,
                    tooltip="Model calls of one jump, 1 to 100, never more than the steps it skips. Published: 10. For "
                    "walks of 40 steps try 3 or 4.",
                ),
                io.Combo.Input(
                    "end",
                    options=list(jump.ENDS),
                    advanced=True,
                    tooltip="clean: the last jump ends with the model's guess at the clean picture. noise left in: it "
                    "stops one level before 0, as the released code does, about 1% noise on native levels.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "sampler",
                    display_name="sampler",
                    tooltip="For SamplerCustom or the Repeat Sampler, with SIGMAS that end at 0. Guided steps as ddpm.",
                )
            ],
        )

    @classmethod
    def execute(cls, dense: float, groups: int, group_share: float, calls: int, end: str) -> io.NodeOutput:
        options = {"dense": dense, "groups": groups, "share": group_share, "calls": calls, "end": end}
        return io.NodeOutput(KSAMPLER(jump.sample_jump, options))


NODES = [SketchILVRSampler, SketchJumpSampler]
