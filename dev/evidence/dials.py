"""Dials against published weights on the starter world, parts of `python3 dev/run.py evidence`.

Shape energy, appearance energy, and Inversion-by-Inversion with both, at 25 steps and at few, on the pixel prior and on
the text starter through its VAE; and what cheaper ways through that VAE lose.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from evidence import gradop, inversion
from evidence.inversion import COLOUR, FIRST, GRID, REPEATS, SHAPE, T0, Pairs, executed
from evidence.page import Page, Store
from runtime import inprocess

MOST, MOST_LATENT, MOST_FINE = 50, 12, 8  # pairs
RENDERS = 300  # that latent results are measured against
DIAL = 0.5  # of both energies with auto: their default
INNER = 4  # inner steps where there are few steps
STEPS = (25, 8, 4)
WEIGHTS = {"published": (SHAPE, COLOUR), "auto": (DIAL, DIAL)}  # of shape and colours
LATENT, FINE = 128, 256  # pixels a side
SEEDS = 77  # of noise
DECIDES = (*inversion.DECIDES, "guidance/scaling.py")
LATENT_DECIDES = (*DECIDES, "networks/text.py", "starter/weights/text.safetensors", "starter/weights/vae.safetensors")


class Silent:
    """The text starter without words, as `inversion.Ways` wants a lab."""

    def __init__(self) -> None:
        self.words = gradop.TextLab()
        self.model, self.vae = self.words.model, self.words.vae

    def sample_latent(self, latent: dict[str, Any], sigmas: Any, sampler: Any, seed: int, model: Any = None) -> Any:
        from comfy_extras.nodes_custom_sampler import SamplerCustom

        nothing = self.words.prompts([""])
        return SamplerCustom.execute(model, True, seed, 1.0, nothing, nothing, sampler, sigmas, latent).args[0]


class Compared(NamedTuple):
    """Rows of a table, and the pictures of each."""

    rows: list[list[Any]]
    pictures: dict[str, Any]


def compared(ways: inversion.Ways, held: Pairs, store: Store, page: Page) -> Compared:
    """Both scales: shape alone, colours alone, and the whole method at STEPS."""
    found, count = Compared([], {}), len(held.sketches)
    for name, steps in (("shape", STEPS[0]), ("colours", STEPS[0]), *(("whole", steps) for steps in STEPS)):
        for scale, (shape, colour) in WEIGHTS.items():
            key = f"{name}, {steps} steps, {scale}"
            weights = {"shape": (shape, 0.0), "colours": (0.0, colour), "whole": (shape, colour)}[name]
            how = {"steps": steps, "scale": scale, "inner_steps": INNER if steps < STEPS[0] else 1}
            make = partial(ways.two_stages if name == "whole" else ways.one_stage, **how)
            found.pictures[key] = store.get(key, count, lambda a, b, make=make, weights=weights: make(a, b, *weights))
            judged = held.judge(found.pictures[key])
            found.rows.append([key, *judged])
            page.numbers[key] = judged._asdict()
    return found


def show(page: Page, name: str, held: Pairs, pictures: dict[str, Any], names: Sequence[str]) -> None:
    """A sheet of sketches, exemplars and the results of these names."""
    shown = min(6, len(held.sketches))
    listed = [*held.sketches[:shown], *held.exemplars[:shown]]
    listed += [picture for key in names for picture in pictures[key][:shown]]
    said = [key.removeprefix("whole, ") for key in names]
    page.sheet(name, listed, columns=shown, rows=["sketch", "exemplar", *said])


def dials(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table over `count` pairs on the pixel prior, measured against `samples` renders."""
    count = min(count, MOST)
    store = Store("evidence_dials", (count, STEPS, T0, DIAL, SHAPE, COLOUR, GRID, REPEATS, INNER), DECIDES)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples)
    found = compared(inversion.Ways(lab, held.sketches, held.exemplars), held, store, page)
    page.text(
        "## Dials and published weights",
        f"{count} of the pairs above. Published: shape weight {SHAPE}, colour weight {COLOUR}. Auto: {DIAL} for both, "
        f"the default. Whole: two stages with three runs in all, from t0 {T0}. With {INNER} inner steps at "
        f"{' and '.join(map(str, STEPS[1:]))} steps, one at {STEPS[0]}. Both scales cost the same.",
    )
    page.table(["", *inversion.HEADS], found.rows)
    show(page, "dials", held, found.pictures, [key for key in found.pictures if key.startswith("whole")])


def latent_dials(page: Page, count: int, samples: int, fresh: bool) -> None:
    """The same on the text starter, and the ways through its VAE."""
    silent, samples = Silent(), min(samples, RENDERS)
    _on_the_text_starter(silent, page, min(count, MOST_LATENT), samples, fresh)
    _through_the_vae(silent, page, min(count, MOST_FINE), samples, fresh)


def _on_the_text_starter(silent: Silent, page: Page, count: int, samples: int, fresh: bool) -> None:
    settings = (count, STEPS, T0, DIAL, SHAPE, COLOUR, GRID, REPEATS, INNER, LATENT)
    store = Store("evidence_latent_dials", settings, LATENT_DECIDES)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples, LATENT)
    found = compared(inversion.Ways(silent, held.sketches, held.exemplars), held, store, page)
    page.text(
        "## Dials and published weights on a latent model",
        f"{count} other pairs of {LATENT} px on the text starter without words, energies through its VAE (colours by "
        "the linear map). Otherwise as above.",
    )
    page.table(["", *inversion.HEADS], found.rows)
    show(page, "latent_dials", held, found.pictures, [key for key in found.pictures if key.startswith("whole")])


def _through_the_vae(silent: Silent, page: Page, count: int, samples: int, fresh: bool) -> None:
    """From words and noise, with a Shape Energy that looks through the VAE in several ways."""
    import torch
    from comfy.samplers import sampler_object
    from torch.nn.functional import adaptive_avg_pool2d

    lab, doors, vae = silent.words, inprocess.room("nodes.inversion"), silent.vae
    ways: dict[str, dict[str, Any] | None] = {
        "no energies": None,
        "vae": {"decoder": "vae"},
        "vae, a slope for 2 steps": {"decoder": "vae", "slope_every": 2},
        "vae, a slope for 4 steps": {"decoder": "vae", "slope_every": 4},
        "vae, half size": {"decoder": "vae, half size"},
        "linear": {"decoder": "linear"},
    }
    settings = (count, FINE, DIAL, gradop.STEPS, gradop.CFG, list(ways))
    store = Store("evidence_vae_ways", settings, LATENT_DECIDES, time.process_time)
    if fresh:
        store.forget()
    held, world = inversion.held_out(count, 1, FINE), inprocess.room("starter.world").World(FINE)
    held = held._replace(references=inversion.rendered(inversion.RENDERS, "image", samples))
    captions = [world.render(FIRST + i).caption for i in range(count)]

    def paint(a: int, b: int, how: dict[str, Any] | None) -> Any:
        model = lab.model
        if how is not None:
            colour = {"colour_weight": DIAL, "scale": "auto", "exemplar": held.exemplars[a:b]}
            (model,) = executed(doors.AppearanceEnergyGuidance, model=model, vae=vae, **colour)
            shape = {"weight": DIAL, "scale": "auto", "sketch": held.sketches[a:b], **how}
            (model,) = executed(doors.SketchShapeEnergy, model=model, vae=vae, **shape)
        empty = torch.zeros(b - a, 4, FINE // 8, FINE // 8)
        said = lab.prompts(captions[a:b])
        return lab.walk(said, sampler_object("euler"), lab.schedule(), empty, SEEDS + a, model)

    pictures, rows = {}, []
    for name, how in ways.items():
        pictures[name] = store.get(name, count, lambda a, b, how=how: paint(a, b, how), 2)
        small = adaptive_avg_pool2d(pictures[name].movedim(-1, 1), inversion.SIDE).movedim(1, -1)
        judged = held.judge(pictures[name], small)
        rows.append([name, *judged, store.seconds[name] / count])
        page.numbers[name] = judged._asdict()
    page.text(
        "## Cheaper ways through the VAE",
        f"{count} pairs of {FINE} px on the text starter with the caption of the sketched scene, from noise: "
        f"{gradop.STEPS} steps of `euler`, cfg {gradop.CFG}, shape and colours at dial {DIAL}, colours by the linear "
        "map. Distance to renders at 64 px. Seconds of processor time a picture. A kept slope is *slope_every*.",
    )
    page.table(["shape energy", *inversion.HEADS, "seconds"], rows)
    show(page, "vae_ways", held, pictures, list(pictures))
