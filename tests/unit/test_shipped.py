"""The registry's archive: nothing for developers in it, everything that the nodes need, and not too large."""

from __future__ import annotations

import io
import zipfile

import pytest

from helpers import PACK
from helpers.shipped import shipped, tracked

MOST_BYTES = 65_000_000  # the starter's weights are 58 MB of it
FOR_DEVELOPERS = ("tests/", "dev/", "docs/", "starter/training/", ".github/", ".ci/")
ROOT = {"__init__.py", "host.py", "files.py", "models_manifest.json", "pyproject.toml", "LICENSE", "README.md"}
CODE = ("nodes", "samplers", "guidance", "pipelines", "training", "pictures", "networks", "batch")
# Folders that are read at run time, and one file that must be among theirs.
READ = {
    "starter": "starter/world.py",
    "starter/samples": "starter/samples/mountain lake.png",
    "starter/photos": "starter/photos/lake at sunset 3.jpg",
    "starter/weights": "starter/weights/vae.safetensors",
    "workflows": "workflows/02 Strokes to photo - sketch to image.json",
    "subgraphs": None,
    "web": "web/docs/NoiseToT0.md",
    "locales": "locales/en/nodeDefs.json",
}


@pytest.fixture(scope="module")
def archive():
    return shipped()


def test_nothing_for_developers(archive):
    assert not [path for path in archive if path.startswith(FOR_DEVELOPERS)]


def test_what_the_nodes_need(archive):
    """All of the code, and every file of the folders that are read at run time."""
    assert set(archive) >= {*ROOT, *filter(None, READ.values())}
    for folder in (*CODE, *READ):
        files = {path for path in tracked(folder) if not path.startswith("starter/training/")}
        assert files, f"{folder}/ is empty"
        assert not files - set(archive)


def test_size(archive):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archived:
        for path in archive:
            archived.write(PACK / path, path)
    size = len(written.getvalue())
    print(f"the archive: {size / 1e6:.1f} MB, {len(archive)} files")
    assert size < MOST_BYTES
