"""Every method of the pack on a tiny model of one family: what docs/MODELS.md tells, and what tests of families run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from helpers import tiny
from helpers.tiny_families import FAMILIES

STEPS = 2


class Bench:
    """A tiny model of a family with a latent, a painting and a walk. rooms: finds a room of the pack by its name."""

    def __init__(self, rooms: Callable[[str], Any], family: str, batch: int = 1, wide: bool = False) -> None:
        self.rooms, self.family = rooms, family
        self.model = tiny.model(family)
        unit = FAMILIES[family].unit
        size = {"height": unit, "width": unit + (unit // 2 if unit == 8 else 32) if wide else unit}
        self.latent = tiny.latent(family, batch=batch, **size)
        self.samples = self.latent["samples"]
        self.painting = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(5))

    def sigmas(self, t0: float = 0.4) -> torch.Tensor:
        levels, family = self.rooms("samplers.levels"), self.rooms("host").noise_family(self.model)
        return levels.walk(family, levels.start_sigma(family, t0)[0], STEPS)

    def sample(self, model: Any = None, sampler: Any = None, **options: Any) -> torch.Tensor:
        """A walk of the host with this family's prompts."""
        prompts = {"positive": tiny.cond(self.family), "negative": tiny.cond(self.family, seed=1)}
        sigmas = options.pop("sigmas", None)
        start = options.pop("latent", self.samples)
        return tiny.sample(
            model or self.model,
            self.sigmas() if sigmas is None else sigmas,
            start,
            sampler=sampler,
            **{"cfg": 2.0, **prompts, **options},
        )


def sdedit(bench: Bench) -> torch.Tensor:
    """Noise to t0, then the SDE Sampler with the published kept region, over half of the picture."""
    doors = bench.rooms("nodes.sdedit")
    walk, _, start = doors.NoiseToT0.execute(bench.model, bench.latent, 0.4, "published noise level", STEPS, 0).args
    assert start["samples"].shape == bench.samples.shape
    mask = torch.ones(1, *bench.samples.shape[-2:])
    mask[:, :, : mask.shape[2] // 2] = 0
    sampler = doors.SketchSDESampler.execute("large", "published").args[0]
    made = bench.sample(sampler=sampler, sigmas=walk, mask=mask)
    kept = bench.samples.shape[-1] // 2
    assert torch.allclose(made[..., :kept], bench.samples[..., :kept], atol=1e-4), "what the mask keeps"
    return made


def repeats(bench: Bench) -> torch.Tensor:
    import comfy.samplers

    door = bench.rooms("nodes.sdedit").SketchRepeatSampler
    return bench.sample(sampler=door.execute(comfy.samplers.sampler_object("euler"), 2).args[0])


def jump(bench: Bench) -> torch.Tensor:
    return bench.sample(sampler=bench.rooms("nodes.walks").SketchJumpSampler.execute(0.34, 0, 0.0, 2, "clean").args[0])


def ilvr(bench: Bench) -> torch.Tensor:
    door = bench.rooms("nodes.walks").SketchILVRSampler
    reference = tiny.latent(bench.family, seed=9, height=bench.samples.shape[-2], width=bench.samples.shape[-1])
    return bench.sample(sampler=door.execute(reference, 4, 0.0, 1.0, 1.0, "matched").args[0])


def guided(bench: Bench, point: str = "denoised", vae: Any = None) -> torch.Tensor:
    """A colour energy on the prediction."""
    energy, terms, decoders = (bench.rooms(f"guidance.{name}") for name in ("energy", "terms", "decoders"))
    decoder = decoders.choose(bench.model, vae, "auto", low_pass=vae is None)
    one = energy.Energy("colour", 2.0, terms.colour(bench.painting, grid=2), decoder=decoder, point=point)
    made = bench.sample(energy.attach(bench.model, one))
    assert not torch.equal(made, bench.sample()), "the energy must do something"
    return made


def through(bench: Bench) -> torch.Tensor:
    return guided(bench, "through the model")


def gradop(bench: Bench, vae: Any = None) -> torch.Tensor:
    door = bench.rooms("nodes.gradop").GradOpSolve
    wanted = ("GradOP+ on the predicted image", 0.8, 1, 2, 0.1, "gaussian", 0.0, "linear" if vae is None else "vae")
    sampler = door.execute(vae, bench.painting, *wanted, 0.001, 6).args[0]
    return bench.sample(sampler=sampler, sigmas=bench.sigmas(0.9), latent=bench.samples * 0)


def half(bench: Bench) -> torch.Tensor:
    """A mask of the left half of the picture, in latent pixels."""
    height, width = bench.samples.shape[-2:]
    mask = torch.zeros(1, height, width)
    mask[:, :, : width // 2] = 1
    return mask


def with_region(bench: Bench, mask: torch.Tensor, weight: float = 1.0, **pull: Any) -> tuple[Any, list]:
    """(MODEL, CONDITIONING): one region with three words of its own, or on a UNet with the third word of the prompt."""
    regions, patch = (bench.rooms(f"guidance.regions.{name}") for name in ("regions", "patch"))
    region = regions.Region(mask, "lake", weight)
    pull = regions.Pull(**{"schedule": regions.CONSTANT, **pull})
    prompt = tiny.cond(bench.family)
    if bench.rooms("host").token_layout(bench.model) is None:
        prompt[0][1][patch.REGIONS] = regions.Placed((regions.Named(region, (2,)),), pull)
        return patch.patch(bench.model), prompt
    alone = tiny.cond(bench.family, seed=7)[0]
    words = regions.Words(region, alone[0][:, :3], {k: v for k, v in alone[1].items() if "mask" not in k})
    prompt[0][1][regions.JOINT] = regions.Apart((words,), pull)
    return bench.rooms("guidance.regions.joint").patch(bench.model), prompt


def regions(bench: Bench) -> torch.Tensor:
    model, prompt = with_region(bench, half(bench), 2.0)
    made = bench.sample(model, positive=prompt)
    assert not torch.equal(made, bench.sample()), "the region must do something"
    return made


METHODS: dict[str, Callable[[Bench], torch.Tensor]] = {
    "SDEdit": sdedit,
    "Repeats": repeats,
    "Jump": jump,
    "ILVR": ilvr,
    "Energies": guided,
    "Through the model": through,
    "GradOP": gradop,
    "Regions": regions,
}


def tried(bench: Bench, method: str) -> str:
    """ "yes", or why this family is refused: the first sentence of the message."""
    try:
        made = METHODS[method](bench)
    except ValueError as error:
        return str(error).split(". ")[0].rstrip(".")
    assert made.shape == bench.samples.shape, f"{method} on {bench.family} gave the shape {list(made.shape)}"
    assert torch.isfinite(made).all(), f"{method} on {bench.family} gave NaN or infinite values"
    return "yes"
