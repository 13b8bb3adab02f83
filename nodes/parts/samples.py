"""The pack's samples as options of Load Sketch, with pictures that the editor finds by itself.

The editor asks ComfyUI's /view for the picture of an option: in the input folder or, if the option ends in "[temp]", in
the temp folder. So a picture of each sample is copied into temp, which ComfyUI empties when it starts and when it ends.
Only the editor looks at the copies. A run reads the sample itself.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import NamedTuple

import folder_paths

from ... import files
from ...pictures.drawings import EXTENSIONS
from .folders import SAMPLES

_MARK, _WHERE = " (sample).png", " [temp]"
_PREVIEWS = SAMPLES / "previews"  # <file name>.png for each sample that is not a PNG


class Sample(NamedTuple):
    path: Path
    picture: Path  # what the editor shows: the sample itself, or its preview


def samples() -> dict[str, Sample]:
    """The samples by option, sorted."""
    found = {}
    for path in SAMPLES.iterdir():
        if path.suffix in EXTENSIONS:
            picture = path if path.suffix == ".png" else _PREVIEWS / f"{path.name}.png"
            found[picture.stem + _MARK + _WHERE] = Sample(path, picture)
    return dict(sorted(found.items()))


def show_samples() -> list[str]:
    """The options. Pictures that are not in the temp folder are put there; if that fails, only they are missing."""
    listed = samples()
    try:
        folder = Path(folder_paths.get_temp_directory())
        folder.mkdir(parents=True, exist_ok=True)
        for option, (_, picture) in listed.items():
            copy = folder / option.removesuffix(_WHERE)
            if not copy.is_file() or copy.stat().st_size != picture.stat().st_size:
                shutil.copyfile(picture, copy)
    except OSError as error:
        logging.warning("SketchSynth: the editor will not show the samples of Load Sketch: %s", error)
    return list(listed)


def find_sample(option: str) -> Path | None:
    """The sample of this option, None if it does not name one. ValueError: there is no such sample."""
    if not option.endswith(_MARK + _WHERE):
        return None
    listed = samples()
    if option not in listed:
        raise ValueError(f"There is no {files.quote(option)}. The samples are {', '.join(map(repr, listed))}.")
    return listed[option].path
