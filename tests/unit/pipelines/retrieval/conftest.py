"""A folder of photos, and a retriever that goes by their colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.colours import Colours


@pytest.fixture
def colours(room):
    return Colours()


@pytest.fixture
def retriever(room, colours):
    return room("pipelines.retrieval.retriever").Retriever((colours,))


@pytest.fixture
def index(room):
    return room("pipelines.retrieval.index")


@pytest.fixture
def search(room):
    return room("pipelines.retrieval.search")


@pytest.fixture
def photos(tmp_path):
    """A folder of 40 small photos, some in sub-folders."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / ("trip" if i % 3 == 0 else ".") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 12, 3), rng.integers(0, 256, 3), np.uint8)).save(path)
    return folder
