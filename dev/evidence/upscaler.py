"""What the starter's upscaler adds to pictures enlarged by a filter, a part of `python3 dev/run.py evidence`."""

from __future__ import annotations

from typing import Any

from evidence.page import Page, Store, weights_of
from evidence.sdedit import HELD_OUT, SIZE, T0_OF_K, Lab, scenes
from runtime import inprocess

PACK = inprocess.PACK
WEIGHTS = PACK / "starter" / "weights"
DECIDES = ("dev/evidence/upscaler.py", "starter/world.py", "starter/noise.py", "host.py", "samplers/*.py")
DECIDES += tuple(f"starter/weights/{name}.safetensors" for name in ("upscaler", "prior"))
SCALE = 4
RENDERS = HELD_OUT + 300_000  # seeds of the large renders
SHOWN = 4


def upscaler(lab: Lab, page: Page, count: int, fresh: bool) -> None:
    """The table: `count` pictures of each kind, enlarged by Lanczos's filter and by the upscaler."""
    store = Store("evidence_upscaler", (count, SCALE, T0_OF_K, 1), DECIDES)
    if fresh:
        store.forget()
    import torch

    measures, world = inprocess.room("pictures.measures"), inprocess.room("starter.world")
    large = SCALE * SIZE
    renders = store.get("renders", count, lambda a, b: _rendered(world, RENDERS + a, RENDERS + b, large))
    own = store.get("small renders", count, lambda a, b: _rendered(world, RENDERS + a, RENDERS + b, SIZE))
    strokes = scenes(Store("evidence_upscaler_strokes", (count, 1), ("starter/*.py",)), count).strokes
    painted = store.get("painted", count, lambda a, b: lab.walk(lab.encode(strokes[a:b]), T0_OF_K, seed=a))
    apart = RENDERS + 50_000
    others = store.get("others", count, lambda a, b: _rendered(world, apart + a, apart + b, large))
    made = {}
    for name, pictures in (("renders", own), ("SDEdit on the prior", painted)):
        for way, enlarge in (("Lanczos", _lanczos), ("the upscaler", _upscaled)):
            key = f"{name}, {way}"
            made[name, way] = store.get(key, count, lambda a, b, of=pictures, by=enlarge: by(of[a:b]))
    rows = []
    for (name, way), pictures in made.items():
        off = (pictures - renders).abs().mean().item() if name == "renders" else None
        distance = measures.patch_distance(pictures, others).mean
        page.numbers[f"{name}, {way}"] = {"off": off, "distance": distance}
        rows.append([name, way, "" if off is None else off, distance])
    floor = measures.patch_distance(renders, others).mean
    page.numbers["floor"] = floor
    notes = weights_of(WEIGHTS / "upscaler.safetensors")
    page.text(
        "## The upscaler",
        f"{count} renders of {SIZE} px and {count} results of SDEdit on stroke paintings (t0 {T0_OF_K}), enlarged to "
        f"{large} px by a Lanczos filter and by the starter's upscaler ({notes.count:,} numbers, "
        f"{notes.notes.get('minutes', '?')} minutes of training). Mean absolute difference from the large render of "
        f"the same seed; distance to {count} other renders of {large} px (patches, as above), which is {floor:.3g} for "
        "renders. Lower is better.",
    )
    page.table(["", "enlarged by", "difference", "distance to renders"], rows)
    chosen = [int(i) for i in torch.linspace(0, count - 1, SHOWN)]
    sheet = [made["SDEdit on the prior", way][i] for i in chosen for way in ("Lanczos", "the upscaler")]
    page.text("By Lanczos and by the upscaler, in pairs:")
    _photos(page, "upscaler_examples", sheet)


def _photos(page: Page, name: str, pictures: list[Any]) -> None:
    """Full size, two pairs in a row: small ones would hide what this is about."""
    import numpy as np
    from PIL import Image

    rows = [np.concatenate([np.asarray(p) for p in pictures[i : i + 4]], 1) for i in range(0, len(pictures), 4)]
    page.photos(name, Image.fromarray((np.concatenate(rows, 0) * 255).round().astype(np.uint8)))


def _rendered(world: Any, first: int, last: int, size: int) -> Any:
    import numpy as np
    import torch

    made = world.render_batch(range(first, last), size)
    return torch.from_numpy(np.stack([scene.image for scene in made])).float() / 255


def _lanczos(pictures: Any) -> Any:
    import comfy.utils

    side = SCALE * pictures.shape[1]
    return comfy.utils.common_upscale(pictures.movedim(-1, 1), side, side, "lanczos", "disabled").movedim(1, -1)


def _upscaled(pictures: Any) -> Any:
    """By the node that the templates end in."""
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    model = inprocess.room("nodes.starter").SketchStarterUpscaler.execute().args[0]
    return ImageUpscaleWithModel.execute(model, pictures).args[0]
