"""SDEdit's doors: where a walk begins (t0), its steps, its repeats, and a sweep over t0."""

from __future__ import annotations

from typing import Any

import comfy.sample
import torch
from comfy.samplers import KSAMPLER
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..samplers import levels, sde
from ..samplers.repeat import RepeatSampler

T0_TIP = (
    "How far the guide is dissolved into noise before the model paints it anew, 0.01 to 1. Low stays close to your "
    "strokes, high looks more like a photo. 0.4 suits pixel priors, 0.6 latent models such as SD1.5."
)
MEANING_TIP = (
    "published noise level: t0 counts on SDEdit's own schedule, so one number means the same amount of noise on every "
    "model. this model's own time: t0 is a share of the model's own schedule, like an img2img strength."
)
STEPS_TIP = (
    "Steps of the walk, 0 to 1000, spread evenly from t0 down to 0, and never more than the model has levels there. "
    "0 takes every native level, as published: up to 1000 on most models, several thousand on Flux."
)


class NoiseToT0(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NoiseToT0",
            display_name="Noise to t0 (SDEdit)",
            category="sketch/sdedit",
            description="Where an SDEdit walk begins: the noise levels from t0 down to 0, for any model, and the guide "
            "noised to that level. Connect sigmas and your own LATENT to SamplerCustom.",
            search_aliases=["SDEdit", "stroke to image", "img2img strength", "denoise strength", "t0", "noise level"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will paint: eps, v, EDM and flow models all work."),
                io.Latent.Input("latent", tooltip="The guide: your strokes, VAE-encoded. Any size and batch."),
                io.Float.Input("t0", default=0.4, min=0.01, max=1.0, step=0.01, tooltip=T0_TIP),
                io.Combo.Input("meaning", options=list(levels.MEANINGS), tooltip=MEANING_TIP, advanced=True),
                io.Int.Input("steps", default=40, min=0, max=1000, tooltip=STEPS_TIP),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the noise in the two LATENT outputs. The sigmas do not depend on it.",
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    advanced=True,
                    tooltip="Another scheduler's levels, cut at t0 instead of making our own; steps is then ignored.",
                ),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", tooltip="Levels from t0 to 0, for SamplerCustom."),
                io.Latent.Output(
                    "noised",
                    display_name="noised",
                    tooltip="The guide at t0. SamplerCustom with add_noise off continues exactly from it. It carries "
                    "no mask: kept pixels would be taken from this noisy picture. For masks use the clean LATENT.",
                ),
                io.Latent.Output(
                    "look",
                    display_name="look",
                    tooltip="The guide at t0 at normal contrast: decode it to see what is left.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        latent: dict[str, Any],
        t0: float,
        meaning: str,
        steps: int,
        seed: int,
        sigmas: Tensor | None = None,
    ) -> io.NodeOutput:
        family = host.noise_family(model)
        start, lowered = levels.start_sigma(family, t0, meaning)
        walk = levels.walk(family, start, steps) if sigmas is None else levels.cut(sigmas, start)

        guide = _clean_latent(model, latent)
        noise = comfy.sample.prepare_noise(guide["samples"], seed, guide.get("batch_index"))
        noised = host.noise_latent(model, guide["samples"], noise, start)
        share = levels.signal_share(family, start)
        text = _describe(family, t0, meaning, start, lowered, len(walk) - 1)
        if "noise_mask" in latent:
            text += (
                "\nThe mask is not in noised and look: a sampler would keep the noisy pixels. "
                "Give it the clean LATENT with the mask, and add_noise on."
            )
        outputs = [
            {**guide, "samples": model.get_model_object("process_latent_out")(samples)}
            for samples in (noised, share * noised)
        ]
        return io.NodeOutput(walk, *outputs, ui=host.text_on_node(cls, text))


class SketchRepeatSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchRepeatSampler",
            display_name="Repeat Sampler (SDEdit K)",
            category="sketch/sdedit",
            description="Noises the result again to the first level and walks back once more, K times in one run: more "
            "realistic and further from the strokes each time. Masked pixels always come from the first latent.",
            search_aliases=["SDEdit", "SDEdit K", "repeat", "resample", "loop sampler"],
            inputs=[
                io.Sampler.Input(
                    "sampler", tooltip="Any sampler that steps through SIGMAS: ddpm, euler, dpmpp_2m, ..."
                ),
                io.Int.Input(
                    "repeats",
                    default=2,
                    min=1,
                    max=10,
                    tooltip="How many walks, 1 to 10, each as long as one run. 1: no change. SDEdit suggests 1 to 3.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "repeated", display_name="sampler", tooltip="For SamplerCustom, with SIGMAS that end at 0."
                )
            ],
        )

    @classmethod
    def execute(cls, sampler: Any, repeats: int) -> io.NodeOutput:
        return io.NodeOutput(RepeatSampler(sampler, repeats))


class SketchSDESampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchSDESampler",
            display_name="SDE Sampler (SDEdit)",
            category="sketch/sdedit",
            description="SDEdit's own steps. small and host together are what the sampler ddpm does; the other choices "
            "are the paper's larger noise and the released code's way with kept pixels.",
            search_aliases=["SDEdit", "fixedlarge", "fixedsmall", "VE SDE", "VP SDE", "ddpm"],
            inputs=[
                io.Combo.Input(
                    "variance",
                    options=list(sde.VARIANCES),
                    tooltip="Noise of each step. small: the released code (fixedsmall, ddpm). large: the paper's VP "
                    "steps (fixedlarge), a little rougher. VE: the paper's VE steps, noisy with fewer than 100 steps.",
                ),
                io.Combo.Input(
                    "kept",
                    options=list(sde.KEPT_RULES),
                    advanced=True,
                    tooltip="How pixels with a mask of exactly 0 are kept. host: as every ComfyUI sampler does. "
                    "published: as the released code, one level noisier than the rest, clean at the end; soft masks "
                    "count as edit. noise left in: that code's exact result, about 1% noise in the kept pixels.",
                ),
            ],
            outputs=[
                io.Sampler.Output("sampler", display_name="sampler", tooltip="For SamplerCustom or the Repeat Sampler.")
            ],
        )

    @classmethod
    def execute(cls, variance: str, kept: str) -> io.NodeOutput:
        return io.NodeOutput(KSAMPLER(sde.sample_sde, {"variance": variance, "kept": kept}))


class SketchT0Sweep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchT0Sweep",
            display_name="t0 Sweep (SDEdit)",
            category="sketch/sdedit",
            description="A list of walks with t0 from first to last: whatever is connected runs once for each. Put the "
            "results and the labels into a contact sheet and choose.",
            search_aliases=["SDEdit", "t0 sweep", "strength sweep", "xy plot", "compare denoise"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will paint: eps, v, EDM and flow models all work."),
                io.Float.Input(
                    "first", default=0.2, min=0.01, max=1.0, step=0.01, tooltip="First t0, 0.01 to 1. " + T0_TIP
                ),
                io.Float.Input("last", default=0.8, min=0.01, max=1.0, step=0.01, tooltip="Last t0, 0.01 to 1."),
                io.Int.Input(
                    "count", default=5, min=1, max=50, tooltip="How many walks, 1 to 50; 1 takes the first only."
                ),
                io.Int.Input("steps", default=40, min=0, max=1000, tooltip=STEPS_TIP),
                io.Combo.Input("meaning", options=list(levels.MEANINGS), tooltip=MEANING_TIP, advanced=True),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", is_output_list=True, tooltip="One walk for each t0, for SamplerCustom."),
                io.String.Output("labels", is_output_list=True, tooltip="One label for each walk, such as: t0 0.40"),
            ],
        )

    @classmethod
    def execute(cls, model: Any, first: float, last: float, count: int, steps: int, meaning: str) -> io.NodeOutput:
        family = host.noise_family(model)
        t0s = torch.linspace(first, last, count, dtype=torch.float64).tolist()
        walks = [levels.walk(family, levels.start_sigma(family, t0, meaning)[0], steps) for t0 in t0s]
        return io.NodeOutput(walks, [f"t0 {t0:.2f}" for t0 in t0s])


def _clean_latent(model: Any, latent: dict[str, Any]) -> dict[str, Any]:
    """The guide as SamplerCustom takes it, without its mask. An empty one gets the model's channels and size."""
    ratios = [latent.get(f"downscale_ratio_{kind}") for kind in ("spacial", "temporal")]
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], *ratios)
    dropped = ("noise_mask", "downscale_ratio_spacial", "downscale_ratio_temporal")
    return {**{k: v for k, v in latent.items() if k not in dropped}, "samples": samples}


def _describe(family: host.NoiseFamily, t0: float, meaning: str, start: float, lowered: bool, steps: int) -> str:
    share = levels.signal_share(family, start)
    lines = [f"t0 {t0:.2f}: sigma {start:.3g}, {share:.0%} of the guide's signal left, {steps} steps."]
    full = levels.pure_noise_from(family, meaning)
    if lowered:
        lines.append(f"This model's noisiest level is {start:.4g}, so the walk starts there.")
    if full is None:
        lines.append("No t0 is pure noise on this model.")
    else:
        lines.append(f"On this model every t0 from {full:.2f} is pure noise.")
    return "\n".join(lines)


NODES = [NoiseToT0, SketchRepeatSampler, SketchSDESampler, SketchT0Sweep]
