"""The stub's graph against its node list, and folders of small files."""

from __future__ import annotations

import pytest

from helpers import stub_comfy


@pytest.fixture
def graphs(room):
    return room("batch.graph")


@pytest.fixture
def items(room):
    return room("batch.items")


@pytest.fixture
def graph(graphs):
    """The stub's graph in API form, as its server knows it."""
    return graphs.Graph(stub_comfy.graph(), stub_comfy.INFO)


@pytest.fixture
def folder(tmp_path):
    """make("sketches", "a.png", "cats/b.png") writes files of different content and gives the folder."""

    def make(name, *files):
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name}/{file}".encode())
        return tmp_path / name

    return make
