"""What several host tests work with: a tiny model that listens to words, made anew for each file."""

from __future__ import annotations

import pytest

import tiny


@pytest.fixture(scope="module")
def clip(loading):
    return tiny.clip()


@pytest.fixture(scope="module")
def model(loading):
    return tiny.model("sd15")
