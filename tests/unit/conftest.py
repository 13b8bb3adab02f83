"""What several unit tests look at: rooms of the pack without ComfyUI, the sketch GAN, the readers of drawings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from helpers import gan_nest, sketchgan_golden
from runtime import rooms


@pytest.fixture(scope="session")
def room() -> Callable[[str], ModuleType]:
    """`room("networks.adm")` is that module of the pack, imported without ComfyUI."""
    return rooms.room


@pytest.fixture(scope="session", autouse=True)
def _without_the_host():
    """Fails where a unit test imported ComfyUI (which is there already if other tests were collected before these)."""
    before = "comfy" in sys.modules
    yield
    assert before or "comfy" not in sys.modules, "a unit test imported comfy: it belongs to tests/host"


@pytest.fixture(scope="module")
def ae(room):
    return room("networks.sketchgan.autoencoder")


@pytest.fixture(scope="module")
def gan(room):
    return room("networks.sketchgan.refiner")


@pytest.fixture(scope="module")
def tom(room):
    return room("networks.sketchgan.tom")


@pytest.fixture(scope="module")
def networks(room):
    return room("networks")


@pytest.fixture(scope="module")
def files(room):
    return room("networks.sketchgan.whole")


@pytest.fixture(scope="module")
def published():
    """Every key and shape of the published files at full width."""
    return json.loads((sketchgan_golden.FOLDER / "manifest_keys.json").read_text())


@pytest.fixture(scope="module")
def data(room):
    return room("training.photos")


@pytest.fixture(scope="module")
def augment(room):
    return room("training.sketchgan.augment")


@pytest.fixture(scope="module")
def batches(room):
    return room("training.batches")


@pytest.fixture(scope="module")
def gan_batches(room):
    return room("training.sketchgan.batches")


@pytest.fixture
def nest(room, monkeypatch):
    """gan_nest on the pack's rooms as this process has them."""
    monkeypatch.setattr(gan_nest, "room", room)
    return gan_nest


@pytest.fixture(scope="module")
def drawings(room):
    return room("pictures.drawings")


@pytest.fixture(scope="module")
def read(drawings):
    return drawings.read_drawing
