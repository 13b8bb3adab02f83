"""Hostile input of every kind works or ends in a sentence; `python3 dev/run.py fuzz` runs more of it."""

from __future__ import annotations

import pytest

from helpers.host import need_host

need_host()

from tools import fuzz  # noqa: E402


def test_damaged_model_files(pack, tmp_path):
    found = fuzz.model_files(40, 11, tmp_path)
    assert found.raw == []
    assert found.refused > 20


def test_damaged_training_states(pack, tmp_path):
    found = fuzz.states(60, 11, tmp_path)
    assert found.raw == []
    assert found.refused > 30


def test_hostile_prompts(pack, all_nodes):
    found = fuzz.prompts(250, 11)
    assert found.raw == []
    assert found.refused > 150


def test_odd_tensors(pack, all_nodes):
    found = fuzz.tensors(270, 7)  # each door ten times
    assert found.raw == []
    assert found.refused > 150


def test_the_fuzzer_can_fail():
    raw: list[str] = []
    assert fuzz.attempt("one", lambda: int("x"), raw)
    assert not fuzz.attempt("two", lambda: {}["x"], raw)
    assert len(raw) == 1
    with pytest.raises(UnicodeEncodeError):  # the host's log could not write it either
        fuzz.attempt("three", lambda: (_ for _ in ()).throw(ValueError("\udcff")), raw)
