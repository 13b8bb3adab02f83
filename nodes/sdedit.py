"""SDEdit: where sampling starts (t0), how it steps, how often it repeats, and a sweep over t0."""

from __future__ import annotations

from typing import Any

import comfy.sample
import torch
from comfy.samplers import KSAMPLER
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.lines import LINES_ALONE, is_lines_alone
from ..samplers import levels, sde
from ..samplers.repeat import RepeatSampler
from .parts import search, wiring
from .parts.checks import check_numbers, latent_samples
from .parts.inputs import seed_input

T0_TIP = (
    "How much noise the guide gets before the model repaints it, 0.01 to 1. Low values stay close to your strokes, "
    "high values look more like a photo. 0.4 suits pixel priors, 0.6 latent models such as SD1.5."
)
MEANING_TIP = (
    "published noise level: t0 refers to SDEdit's own schedule, so the same number means the same amount of noise on "
    "every model. this model's own time: t0 is a fraction of the model's own schedule, like an img2img strength."
)
STEPS_TIP = (
    "Sampling steps, 0 to 1000, evenly spaced from t0 down to 0, at most as many as the model has levels there. 0 "
    "uses every native level, as published: up to 1000 on most models, several thousand on Flux."
)


def t0_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.01,
        max=1.0,
        step=0.01,
        tooltip=tooltip,
        display_mode=io.NumberDisplay.slider,
    )


class NoiseToT0(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NoiseToT0",
            display_name="Noise to t0 (SDEdit)",
            category="sketch/sdedit",
            description="Sets where SDEdit starts: gives the noise levels from t0 down to 0, for any model, and the "
            "guide noised to t0. Connect sigmas and your own LATENT to SamplerCustom.",
            search_aliases=[
                *("SDEdit", "stroke to image", "img2img strength", "t0", "noise level"),
                *(*search.IMG2IMG, *search.STROKES, *search.INPAINT),
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with: eps, v, EDM and flow models all work."),
                io.Latent.Input("latent", tooltip="The guide: your strokes, VAE-encoded. Any size and batch."),
                t0_input("t0", 0.4, T0_TIP),
                io.Combo.Input("meaning", options=list(levels.MEANINGS), tooltip=MEANING_TIP, advanced=True),
                io.Int.Input("steps", default=40, min=0, max=1000, tooltip=STEPS_TIP),
                seed_input(
                    "Seed of the noise in the two LATENT outputs, 0 to 2^64 - 1. The sigmas do not depend on it."
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    advanced=True,
                    tooltip="Levels from another scheduler, cut at t0. steps is then ignored.",
                ),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", tooltip="Noise levels from t0 to 0, for SamplerCustom."),
                io.Latent.Output(
                    "noised",
                    display_name="noised",
                    tooltip="The guide noised to t0. SamplerCustom with add_noise off continues from exactly this. It "
                    "has no mask, because kept pixels would be taken from this noisy picture. For masks use the clean "
                    "LATENT.",
                ),
                io.Latent.Output(
                    "look",
                    display_name="look",
                    tooltip="The guide noised to t0, at normal contrast: decode it to see what is left of it.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
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
        check_numbers(t0=t0)
        family = host.noise_family(model)
        start, lowered = levels.start_sigma(family, t0, meaning)
        walk = levels.walk(family, start, steps) if sigmas is None else levels.cut(sigmas, start)

        guide = _clean_latent(model, latent)
        noise = comfy.sample.prepare_noise(guide["samples"], seed, guide.get("batch_index"))
        noised = host.noise_latent(model, guide["samples"], noise, start)
        share = levels.signal_share(family, start)
        prompt, node_id = (cls.hidden.prompt, cls.hidden.unique_id) if cls.hidden else (None, None)
        if not host.is_pixels(model):
            wiring.refuse_label(prompt, node_id)
        lines = [_describe(family, t0, meaning, start, lowered, len(walk) - 1)]
        lines += wiring.noised_used_wrongly(prompt, node_id, "noise_mask" in latent)
        by_file = wiring.comes_from(prompt, node_id, "latent", "SketchLoader")  # which says so itself
        told = by_file or wiring.only_looked_at(prompt, node_id)
        if not told and host.is_pixels(model) and lines_only(guide["samples"]):
            lines.append(LINES_ALONE)
        text = "\n".join(lines)
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
            description="Noises the result again to the first level and samples once more, K times in one run. Each "
            "time it gets more realistic and moves further from the strokes. Kept pixels always come from the first "
            "latent.",
            search_aliases=["SDEdit", "SDEdit K", "repeat", "resample", "loop sampler", *search.IMG2IMG],
            inputs=[
                io.Sampler.Input(
                    "sampler", tooltip="Any sampler that steps through SIGMAS: ddpm, euler, dpmpp_2m, ..."
                ),
                io.Int.Input(
                    "repeats",
                    default=2,
                    min=1,
                    max=10,
                    tooltip="Number of passes, 1 to 10; each takes as long as a plain run. 1: no change. SDEdit "
                    "suggests 1 to 3.",
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
            description="SDEdit's own steps. small with host is the same as the sampler ddpm; the other options are "
            "the paper's larger noise and the released code's handling of kept pixels.",
            search_aliases=[
                *("SDEdit", "fixedlarge", "fixedsmall", "VE SDE", "VP SDE", "ddpm", "learned variance"),
                *("guided diffusion", "DiffSketching"),
            ],
            inputs=[
                io.Combo.Input(
                    "variance",
                    options=list(sde.VARIANCES),
                    tooltip="Noise added at each step. small: as in the released code (fixedsmall, ddpm). large: the "
                    "paper's VP steps (fixedlarge), slightly rougher. VE: the paper's VE steps, noisy with fewer than "
                    "100 steps. learned: each pixel's own, from pixel priors with learned variances.",
                ),
                io.Combo.Input(
                    "kept",
                    options=list(sde.KEPT_RULES),
                    advanced=True,
                    tooltip="How pixels outside the mask are kept. host: as in every ComfyUI sampler. published: as "
                    "in the released code, one level noisier than the rest, clean at the end; only a mask of exactly "
                    "0 keeps, soft masks count as edited. noise left in: the exact result of that code, with about 1% "
                    "noise in the kept pixels.",
                ),
                io.Combo.Input(
                    "guided",
                    options=list(sde.GUIDED),
                    optional=True,
                    advanced=True,
                    tooltip="What energies and class guidance shift: the prediction, or, as in guided diffusion's own "
                    "sampling, the mean of each step by the step's variance. Only for eps models such as pixel priors.",
                ),
            ],
            outputs=[
                io.Sampler.Output("sampler", display_name="sampler", tooltip="For SamplerCustom or Repeat Sampler.")
            ],
        )

    @classmethod
    def execute(cls, variance: str, kept: str, guided: str = sde.AS_DENOISED) -> io.NodeOutput:
        return io.NodeOutput(KSAMPLER(sde.sample_sde, {"variance": variance, "kept": kept, "guided": guided}))


class SketchT0Sweep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchT0Sweep",
            display_name="t0 Sweep (SDEdit)",
            category="sketch/sdedit",
            description="A list of schedules with t0 from first to last: all connected nodes run once for each. "
            "Connect the results and the labels to Contact Sheet and compare.",
            search_aliases=[
                "SDEdit",
                "t0 sweep",
                "strength sweep",
                "compare denoise",
                *search.IMG2IMG,
                *search.COMPARE,
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with: eps, v, EDM and flow models all work."),
                t0_input("first", 0.2, "First t0, 0.01 to 1. " + T0_TIP),
                t0_input("last", 0.8, "Last t0, 0.01 to 1."),
                io.Int.Input("count", default=5, min=1, max=50, tooltip="Number of t0 values, 1 to 50. 1: only first."),
                io.Int.Input("steps", default=40, min=0, max=1000, tooltip=STEPS_TIP),
                io.Combo.Input("meaning", options=list(levels.MEANINGS), tooltip=MEANING_TIP, advanced=True),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", is_output_list=True, tooltip="Noise levels for each t0, for SamplerCustom."),
                io.String.Output("labels", is_output_list=True, tooltip="One label per t0, such as: t0 0.40"),
            ],
        )

    @classmethod
    def execute(cls, model: Any, first: float, last: float, count: int, steps: int, meaning: str) -> io.NodeOutput:
        check_numbers(first=first, last=last)
        family = host.noise_family(model)
        t0s = torch.linspace(first, last, count, dtype=torch.float64).tolist()
        walks = [levels.walk(family, levels.start_sigma(family, t0, meaning)[0], steps) for t0 in t0s]
        return io.NodeOutput(walks, [f"t0 {t0:.2f}" for t0 in t0s])


def _clean_latent(model: Any, latent: dict[str, Any]) -> dict[str, Any]:
    """The guide as SamplerCustom would use it, without its mask. An empty one gets the model's channels and size."""
    samples = latent_samples(model, latent)
    dropped = ("noise_mask", "downscale_ratio_spacial", "downscale_ratio_temporal")
    return {**{k: v for k, v in latent.items() if k not in dropped}, "samples": samples}


def _describe(family: host.NoiseFamily, t0: float, meaning: str, start: float, lowered: bool, steps: int) -> str:
    share = levels.signal_share(family, start)
    text = f"t0 {t0:.2f}: sigma {start:.3g}, {share:.0%} of the guide's signal is left, {steps} steps."
    full = levels.pure_noise_from(family, meaning)
    if full is not None and t0 > full - 0.0005:
        others = "" if full > 0.999 else f", as is every t0 from {full:.2f} up"
        text += f"\nOn this model that is pure noise{others}: try a lower t0."
    elif lowered:
        text += f"\nThis model's highest noise level is {start:.4g}, so sampling starts there."
    return text


def lines_only(samples: Tensor) -> bool:
    """Whether a picture of these pixels [B, 3, H, W], -1 to 1, is lines on paper, without colour."""
    return any(is_lines_alone(one.movedim(0, -1) / 2 + 0.5) for one in samples[:, :3])


NODES = [NoiseToT0, SketchRepeatSampler, SketchSDESampler, SketchT0Sweep]
