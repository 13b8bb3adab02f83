"""Tensors that are nearly right, and every door of the nodes that takes one. `fuzz` and the tests count what comes."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from runtime import inprocess

SIGMAS = torch.tensor([3.0, 1.0, 0.3, 0.0])
DTYPES = (torch.float32, torch.float32, torch.float16, torch.float64, torch.bfloat16, torch.uint8, torch.bool)


def odd(rng: random.Random, shape: tuple[int, ...]) -> Tensor:
    """A tensor near this shape: sizes, rank, type and values may be off."""
    sides = list(shape)
    for _ in range(rng.choice((0, 1, 1, 2))):
        what = rng.choice(("size", "drop", "add"))
        if what == "size" and sides:
            sides[rng.randrange(len(sides))] = rng.choice((0, 1, 2, 3, 4, 5, 7, 16))
        elif what == "drop" and sides:
            del sides[rng.randrange(len(sides))]
        else:
            sides.insert(rng.randrange(len(sides) + 1), rng.choice((1, 2, 3)))
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    made = (torch.rand(sides, generator=generator) * rng.choice((1, 1, 300))).to(rng.choice(DTYPES))
    if made.numel() and made.is_floating_point() and rng.random() < 0.2:
        made.view(-1)[rng.randrange(made.numel())] = rng.choice((math.nan, math.inf, -math.inf))
    return made


def call(nodes: dict[str, Any], key: str, **given: Any) -> Any:
    """execute() with the defaults of the widgets, a photo for each IMAGE, and nothing at other sockets."""
    schema = nodes[key].GET_SCHEMA()
    values: dict[str, Any] = {}
    for one in schema.inputs:
        value = getattr(one, "default", None)
        if one.get_io_type() == "COMBO":
            value = value or one.options[0]
        elif one.get_io_type() == "IMAGE" and not one.optional:
            value = photo()
        elif one.get_io_type() == "STRING" and not one.optional:
            value = value or "words"
        if value is not None or not one.optional:
            values[one.id] = value
    values |= given
    if schema.is_input_list:
        values = {name: [value] for name, value in values.items()}
    return nodes[key].execute(**values)


def photo() -> Tensor:
    """An IMAGE [1, 16, 16, 3] that nothing is wrong with."""
    return torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1))


class Doors:
    """Every way a tensor comes into the pack, as functions of a random.Random. Tiny models, made once."""

    def __init__(self) -> None:
        folder = str(inprocess.PACK / "tests")
        if folder not in sys.path:
            sys.path.append(folder)
        from helpers import tiny

        self.tiny = tiny
        self.nodes = {node.GET_SCHEMA().node_id: node for node in inprocess.room("nodes").NODES}
        self.model, self.vae, self.clip = tiny.model("sd15"), tiny.vae(4), tiny.clip()
        self.gan = self._one("SketchGANLoader")
        self.plain = self._one("SketchSDESampler")

    def all(self) -> dict[str, Callable[[random.Random], Any]]:
        return {**self._pictures(), **self._latents(), **self._runs()}

    def _one(self, key: str, **given: Any) -> Any:
        return call(self.nodes, key, **given).args[0]

    def _walk(self, sampler: Any = None, model: Any = None, **changes: Any) -> Tensor:
        given = {"sigmas": SIGMAS, "latent": self.tiny.latent()["samples"], "cfg": 1.0, **changes}
        sigmas, latent = given.pop("sigmas"), given.pop("latent")
        return self.tiny.sample(model or self.model, sigmas, latent, sampler=sampler or self.plain, **given)

    def _pictures(self) -> dict[str, Callable[[random.Random], Any]]:
        """IMAGE and MASK, of nodes that need no model."""
        nodes = self.nodes
        return {
            "Photo to Strokes": lambda rng: call(
                nodes, "SketchPhotoToStrokes", image=odd(rng, (1, 12, 9, 3)), median_size=3
            ),
            "Photo to Sketch": lambda rng: call(nodes, "SketchPhotoToSketch", image=odd(rng, (1, 12, 9, 3))),
            "Paint Region": lambda rng: call(nodes, "SketchPaintRegion", mask=odd(rng, (1, 8, 8))),
            "Regions from Strokes": lambda rng: call(
                nodes, "SketchRegionsFromStrokes", image=odd(rng, (1, 8, 8, 3)), tolerance=1.0, legend=""
            ),
            "AdaIN Style": lambda rng: call(
                nodes, "SketchAdaINStyle", content=odd(rng, (1, 9, 8, 3)), style=odd(rng, (1, 8, 9, 3))
            ),
            "Contact Sheet": lambda rng: call(nodes, "SketchContactSheet", images=odd(rng, (1, 9, 8, 3)), cell=32),
            "Faithfulness Report": lambda rng: call(
                nodes, "SketchFaithfulnessReport", results=odd(rng, (1, 9, 8, 3)), mask=odd(rng, (1, 8, 8))
            ),
            "Faithfulness Report, guide": lambda rng: call(
                nodes, "SketchFaithfulnessReport", results=photo(), guide=odd(rng, (1, 9, 8, 3))
            ),
            "GAN Style": lambda rng: call(nodes, "SketchGANStyle", gan=self.gan, image=odd(rng, (1, 64, 64, 3))),
            "GAN Decode": lambda rng: call(
                nodes,
                "SketchGANDecode",
                gan=self.gan,
                sketch=odd(rng, (1, 64, 64, 3)),
                style=self._one("SketchGANStyle", gan=self.gan, image=photo()),
            ),
        }

    def _latents(self) -> dict[str, Callable[[random.Random], Any]]:
        """LATENT, SIGMAS and CONDITIONING, and pictures beside a model."""
        nodes, model, latent = self.nodes, self.model, self.tiny.latent()
        beside = {"model": model, "decoder": "linear"}

        def maps(rng: random.Random) -> Any:
            prompt = [[odd(rng, (1, 77, 16)), {"pooled_output": odd(rng, (1, 16))}]]
            given = {"model": model, "clip": self.clip, "prompt": "a lake", "phrases": "lake", "levels": 1}
            return call(nodes, "SketchAttentionMaps", **given, conditioning=prompt, latent=latent)

        return {
            "Noise to t0, latent": lambda rng: call(
                nodes, "NoiseToT0", model=model, latent={"samples": odd(rng, (1, 4, 8, 8))}
            ),
            "Noise to t0, sigmas": lambda rng: call(
                nodes, "NoiseToT0", model=model, latent=latent, sigmas=odd(rng, (2,))
            ),
            "Shape Energy": lambda rng: call(nodes, "SketchShapeEnergy", **beside, sketch=odd(rng, (1, 8, 8, 3))),
            "Shape Inversion, latent": lambda rng: call(
                nodes, "ShapeInversion", **beside, vae=self.vae, latent={"samples": odd(rng, (1, 4, 8, 8))}
            ),
            "Shape Inversion, sketch": lambda rng: call(
                nodes, "ShapeInversion", **beside, vae=self.vae, sketch=odd(rng, (1, 16, 16, 3))
            ),
            "Attention Maps": maps,
        }

    def _runs(self) -> dict[str, Callable[[random.Random], Any]]:
        """What is seen only while a sampler runs."""
        nodes, model = self.nodes, self.model

        def pulled(key: str, name: str, rng: random.Random) -> Any:
            given = {"model": model, "decoder": "linear", name: odd(rng, (1, 8, 8, 3))}
            return self._walk(model=call(nodes, key, **given).args[0])

        def gradop(rng: random.Random) -> Any:
            given = {"vae": self.vae, "decoder": "linear", "rounds": 1, "gradient_steps": 1}
            return self._walk(self._one("GradOpSolve", **given, painting=odd(rng, (1, 8, 8, 3))))

        def regions(rng: random.Random) -> Any:
            region = self._one("SketchPaintRegion", mask=odd(rng, (1, 8, 8)), phrase="lake")
            given = {"model": model, "clip": self.clip, "prompt": "a lake", "regions": region}
            patched, prompt = call(nodes, "CrossAttnRegionMap", **given).args
            return self._walk(model=patched, positive=prompt)

        def ilvr(rng: random.Random) -> Any:
            return self._walk(self._one("SketchILVRSampler", reference={"samples": odd(rng, (1, 4, 8, 8))}, grid=2))

        return {
            "SDE Sampler, sigmas": lambda rng: self._walk(sigmas=odd(rng, (3,))),
            "SDE Sampler, latent": lambda rng: self._walk(latent=odd(rng, (1, 4, 8, 8))),
            "Jump Sampler, sigmas": lambda rng: self._walk(self._one("SketchJumpSampler"), sigmas=odd(rng, (3,))),
            "Time Travel Sampler, sigmas": lambda rng: self._walk(
                self._one("SketchTimeTravelSampler", sampler=self.plain), sigmas=odd(rng, (3,))
            ),
            "Prune Sampler, latent": lambda rng: self._walk(
                self._one("SketchPruneSampler", sampler=self.plain),
                model=self._one("AppearanceEnergyGuidance", model=model, decoder="linear", exemplar=photo()),
                latent=odd(rng, (4, 4, 8, 8)),
            ),
            "Repeat Sampler, sigmas": lambda rng: self._walk(
                self._one("SketchRepeatSampler", sampler=self.plain), sigmas=odd(rng, (3,))
            ),
            "SDE Sampler, prompt": lambda rng: self._walk(
                positive=[[odd(rng, (1, 6, 16)), {"pooled_output": odd(rng, (1, 16))}]]
            ),
            "SDE Sampler, mask": lambda rng: self._walk(mask=odd(rng, (1, 8, 8))),
            "ILVR Sampler": ilvr,
            "a run under Shape Energy": lambda rng: pulled("SketchShapeEnergy", "sketch", rng),
            "a run under Appearance Energy": lambda rng: pulled("AppearanceEnergyGuidance", "exemplar", rng),
            "a run of GradOP": gradop,
            "a run with regions": regions,
        }
