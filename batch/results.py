"""The output folder, which is the truth: an item whose main file is there is done. Files are whole or not there."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import files
from .items import Item, Items

BOOKS = "_batch"  # the sub-folder of what is not a result
SHEET = 64  # items on the contact sheet


class Results:
    """Results below `folder`: `<item>.<ending>`, further files of an item as `<item>.2.<ending>` and on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.books = folder / BOOKS
        self.run = ""

    @contextmanager
    def opened(self, what: dict[str, Any]) -> Iterator[None]:
        """Keeps the folder for this command alone and clears away what a killed one left half-written.

        what: graph and settings as JSON. ValueError: another command writes there, or it holds results of something
        else. Afterwards `run` is the id of the run, the same each time it is taken up."""
        try:
            with files.locked(self.books):
                self._take_up(what)
                yield
        except files.Locked:
            raise ValueError(
                f"Another command writes to {files.quote(self.folder)}. Wait for it, or choose another --out."
            ) from None

    def _take_up(self, what: dict[str, Any]) -> None:
        for path in files.half_written(self.folder.rglob("*.part")):
            path.unlink(missing_ok=True)
        page = self.books / "job.json"
        if page.exists():
            known = json.loads(page.read_text(encoding="utf-8"))
            if known["what"] != json.loads(json.dumps(what)):
                raise ValueError(
                    f"{files.quote(self.folder)} holds results of another graph or of other settings "
                    f"({page.relative_to(self.folder)}). Choose another --out, or delete it."
                )
            self.run = known["run"]
            return
        self.run = str(uuid.uuid4())
        files.replace(page, json.dumps({"run": self.run, "what": what}, indent=1).encode())

    def done(self) -> set[str]:
        """Names of the items whose main file is there."""
        found = set()
        for folder, folders, names in os.walk(self.folder):
            if BOOKS in folders and Path(folder) == self.folder:
                folders.remove(BOOKS)
            inside = Path(folder).relative_to(self.folder).as_posix()
            before = "" if inside == "." else f"{inside}/"
            found |= {f"{before}{name.split('.')[0]}" for name in names if name.count(".") == 1 and name[0] != "."}
        return found

    def save(self, name: str, content: Sequence[tuple[str, bytes]]) -> None:
        """An item's files, the main one last: once it is there, the item is whole. NotWritten: a full disk."""
        for number in range(len(content), 0, -1):
            ending, data = content[number - 1]
            further = "" if number == 1 else f".{number}"
            files.replace(self.folder / f"{name}{further}{ending}", data)

    def main_file(self, name: str) -> Path | None:
        """The main file of an item, if it is there."""
        path = self.folder / name
        return next((p for p in path.parent.glob(f"{glob.escape(path.name)}.*") if p.name.count(".") == 1), None)

    # --- the books ---

    def list_items(self, items: Items) -> None:
        """items.csv: every item with its inputs and seeds, so that any one of them can be made again."""
        table = io.StringIO()
        writer = csv.writer(table)
        for item in items:
            if not item.index:
                writer.writerow(["name", *(target.label for target, _ in item.values)])
            writer.writerow([item.name, *(value for _, value in item.values)])
        files.replace(self.books / "items.csv", table.getvalue().encode("utf-8", "backslashreplace"))

    def forget_failures(self) -> None:
        """An empty failed.csv: what failed before is tried again."""
        with (self.books / "failed.csv").open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerow(["name", "tries", "server", "why", "inputs"])

    def failed(self, item: Item, tries: int, server: str, why: str) -> None:
        """One line more in failed.csv, at once."""
        inputs = json.dumps({target.label: str(value) for target, value in item.values}, ensure_ascii=False)
        with (self.books / "failed.csv").open("a", encoding="utf-8", newline="", errors="backslashreplace") as table:
            csv.writer(table).writerow([item.name, tries, server, why, inputs])

    def summarise(self, summary: dict[str, Any]) -> Path:
        """summary.json."""
        stamped = {"written": time.strftime("%Y-%m-%d %H:%M:%S"), **summary}
        files.replace(self.books / "summary.json", json.dumps(stamped, indent=1, ensure_ascii=False).encode())
        return self.books / "summary.json"

    def sheet(self, items: Iterable[Item]) -> Path | None:
        """contact_sheet.jpg of the first 64 items, eight in a row. None without Pillow, or if there are no pictures."""
        try:
            from PIL import Image, ImageDraw
        except ImportError:
            return None
        side, name_height, gap = 160, 16, 6
        shown = [(item.name, _thumbnail(self.main_file(item.name), side)) for item in items]
        if not any(picture for _, picture in shown):
            return None
        rows, columns = -(-len(shown) // 8), min(8, len(shown))
        size = (gap + columns * (side + gap), gap + rows * (side + name_height + gap))
        sheet = Image.new("RGB", size, "#16171b")
        draw = ImageDraw.Draw(sheet)
        for place, (name, picture) in enumerate(shown):
            left, top = gap + place % 8 * (side + gap), gap + place // 8 * (side + name_height + gap)
            if picture is not None:
                sheet.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
            else:
                draw.rectangle((left, top, left + side, top + side), outline="#55565c")
            draw.text((left, top + side + 2), _short(draw, name, side), fill="#b9b9c4")
        made = io.BytesIO()
        sheet.save(made, "JPEG", quality=88)
        files.replace(self.books / "contact_sheet.jpg", made.getvalue())
        return self.books / "contact_sheet.jpg"


def _thumbnail(path: Path | None, side: int) -> Any:
    from PIL import Image

    try:
        if path is None:
            return None
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        scale = side / max(picture.size)
        return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    except (OSError, ValueError):  # no picture, or one that Pillow does not read
        return None


def _short(draw: Any, name: str, width: int) -> str:
    name = name.encode("latin-1", "replace").decode("latin-1")
    while draw.textlength(name) > width and len(name) > 4:
        name = f"{name[:-4]}..."
    return name
