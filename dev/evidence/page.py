"""For evidence runs: pictures that survive an interruption, and the page that the numbers are written on."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from runtime import inprocess
from runtime.provision import cache_root, say

PACK = inprocess.PACK


class Store:
    """Finished batches as .npy files. The folder's name is a hash of all that decides about the pictures. clock: of
    `seconds`, which a batch that is kept does not change."""

    def __init__(
        self, name: str, settings: Any, files: tuple[str, ...], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        digest = hashlib.sha256(repr(settings).encode())
        for pattern in files:
            for path in sorted(PACK.glob(pattern)):
                digest.update(path.read_bytes())
        self.folder = cache_root() / name / digest.hexdigest()[:16]
        self.clock, self.seconds = clock, dict[str, float]()

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, name: str, count: int, make: Callable[[int, int], Any], batch: int = 25) -> Any:
        """`count` pictures as a float tensor [count,H,W,C] in [0,1], made by make(first, last) a batch at a time and
        kept as the 8-bit values that SaveImage would write: that is what is measured."""
        import numpy as np
        import torch

        (self.folder / name).mkdir(parents=True, exist_ok=True)
        parts, spent = [], self.folder / name / "seconds.json"
        seconds = json.loads(spent.read_text()) if spent.exists() else 0.0
        for first in range(0, count, batch):
            path = self.folder / name / f"{first:05d}.npy"
            if not path.exists():
                began = self.clock()
                pictures = make(first, min(first + batch, count))
                np.save(path.with_suffix(".part.npy"), (pictures * 255).clamp(0, 255).byte().numpy())
                path.with_suffix(".part.npy").replace(path)
                seconds += self.clock() - began
                spent.write_text(json.dumps(seconds))
                say(f"  {name}: {min(first + batch, count)} of {count}, {seconds:.0f} s")
            parts.append(torch.from_numpy(np.load(path)))
        self.seconds[name] = seconds
        return torch.cat(parts).float() / 255


class Weights(NamedTuple):
    """What a safetensors file says of itself. count: of all its numbers. sha256: the first digits."""

    notes: dict[str, str]
    count: int
    sha256: str


def weights_of(path: Path) -> Weights:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        notes = file.metadata() or {}
        count = sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118 - no mapping
    return Weights(notes, count, hashlib.sha256(path.read_bytes()).hexdigest()[:12])


HEAD = """# Evidence

Made by `python3 dev/run.py evidence` in ComfyUI itself, with the pack's own nodes on the built-in models. Every picture
was converted to 8 bits, as SaveImage does, before it was measured. `evidence NAME` renews one part.

## Against the official code

Recorded noise of the official code, replayed through the host's own samplers. These numbers are from the golden tests,
which require 1e-4 for networks and 1e-3 for chains of steps; `evidence` does not renew them.

| SDEdit | largest absolute difference |
| --- | --- |
| unmasked, host `ddpm` on the grid of *Noise to t0* | 4.1e-5 |
| masked, small variance, K = 2 | 3.7e-5 |
| masked, large variance, K = 2 | 3.5e-5 |

| Inversion-by-Inversion, through the MODEL patch and the host's `ddpm` | difference, relative to the largest value |
| --- | --- |
| guided steps | 3e-7 to 2e-6; 2e-5 in one of 25, in which a ReLU is at its kink |
| two stages with three runs in all | 2.5e-4 |
| three stages | 7e-5 |
| with CLIP | 1.4e-5 |
| accelerated sampler | 4e-6 |
"""


class Page:
    """One part of docs/EVIDENCE.md and its pictures; the other parts stay as their own runs left them."""

    def __init__(self, output: Path, part: str) -> None:
        self.output, self.part = output, part
        self.pictures = output / "evidence"
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.lines: list[str] = []
        self.numbers: dict[str, Any] = {}

    def text(self, *paragraphs: str) -> None:
        self.lines += [line for paragraph in paragraphs for line in (paragraph, "")]

    def table(self, heads: list[str], rows: list[list]) -> None:
        cells = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        self.lines += ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *cells)] + [""]

    def verdict(self, rows: list, knob: str) -> None:
        """Says, from the numbers (fields l2 and distance), whether the claim holds at every step."""
        up = sum(a.l2 < b.l2 for a, b in pairwise(rows))
        down = sum(a.distance > b.distance for a, b in pairwise(rows))
        steps = len(rows) - 1
        self.numbers[f"{knob} steps"] = {"of": steps, "L2 rises": up, "distance falls": down}
        self.text(
            f"As {knob} grows, the distance to the strokes rises in {up} of {steps} steps and the distance to renders "
            f"falls in {down} of {steps}."
        )

    def photos(self, name: str, picture: Any) -> None:
        """A sheet of photos as JPEG: every clone of the repository carries it."""
        picture.convert("RGB").save(self.pictures / f"{name}.jpg", quality=89, optimize=True)
        self.text(f"![{name}](evidence/{name}.jpg)")

    def chart(self, name: str, picture: Any) -> None:
        """Lines and words as PNG of 64 colours: smaller than a JPEG, and sharp."""
        from PIL import Image

        few = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
        few.save(self.pictures / f"{name}.png", optimize=True)
        self.text(f"![{name}](evidence/{name}.png)")

    def sheet(self, name: str, pictures: list, columns: int, rows: list[str]) -> None:
        charts = inprocess.room("pictures.charts")
        from PIL import Image

        images = [Image.fromarray((p * 255).round().byte().numpy()) for p in pictures]
        self.photos(name, charts.contact_sheet(images, columns=columns, cell=112, row_labels=rows))

    def curves(
        self, name: str, x_label: str, panels: list[tuple[str, str, list, list]], x_names: tuple[str, ...] = ()
    ) -> None:
        """Charts in a row: (title, unit, points, levels to compare with) each; x_names as for charts.line_chart."""
        charts = inprocess.room("pictures.charts")
        drawn = []
        for title, unit, points, floors in panels:
            xs = [x for x, _ in points]
            series = [charts.Series("results", points)]
            series += [charts.Series(word, [(min(xs), y), (max(xs), y)], dashed=True) for word, y in floors]
            words = {"title": title, "x_label": x_label, "y_label": unit, "x_names": x_names}
            drawn.append(charts.line_chart(series, **words, size=(640, 440)))
        self.chart(name, charts.side_by_side(drawn))

    def write(self, order: tuple[str, ...]) -> None:
        """Puts this part into EVIDENCE.md, between the others in `order`, and its numbers into numbers.json."""
        page, numbers = self.output / "EVIDENCE.md", self.pictures / "numbers.json"
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        held = re.split(r"^<!-- part (\w+) -->\n", before, flags=re.M)
        texts = {**dict(zip(held[1::2], held[2::2], strict=True)), self.part: "\n".join(self.lines)}
        parts = [f"<!-- part {name} -->\n{texts[name].strip()}\n" for name in order if name in texts]
        page.write_text("\n".join([HEAD, *parts]), encoding="utf-8")
        kept = json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else {}
        kept = {name: kept[name] for name in order if name in kept} | {self.part: self.numbers}
        numbers.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
