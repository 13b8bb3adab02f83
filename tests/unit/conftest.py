"""What several unit tests look at: the modules of the sketch GAN's networks."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def ae(room):
    return room("networks.sketchgan_ae")


@pytest.fixture(scope="module")
def gan(room):
    return room("networks.sketchgan_gan")


@pytest.fixture(scope="module")
def tom(room):
    return room("networks.tom")
