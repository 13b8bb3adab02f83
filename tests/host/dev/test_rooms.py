"""The rooms of dev/ and ComfyUI's own modules can be imported side by side."""

from __future__ import annotations

import sys
from pathlib import Path

from helpers.host import need_host
from runtime import inprocess


def test_no_room_has_a_name_of_the_host():
    names = {path.stem for path in need_host().iterdir()}
    assert {"nodes", "utils", "comfy"} <= names
    assert names & {*inprocess.ROOMS, "helpers"} == set()


def test_rooms_are_ours_in_this_process():
    assert sys.path[0] == str(need_host())
    assert {name: Path(sys.modules[name].__file__ or "").parent for name in inprocess.ROOMS} == {
        name: inprocess.DEV / name for name in inprocess.ROOMS
    }
