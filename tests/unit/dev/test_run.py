"""dev/run.py: every command has its module and its line of help; the test command adds its processes up."""

from __future__ import annotations

import importlib.util

import pytest
import run

from helpers import TESTS
from runtime import provision, testing


def test_every_command_has_a_module_and_a_line_of_help():
    assert [module for module in run.TOOLS.values() if importlib.util.find_spec(module) is None] == []
    assert [name for name in run.TOOLS if name not in (run.__doc__ or "")] == []


def test_every_test_is_in_one_part():
    def takes(words: tuple[str, ...], name: str) -> bool:
        left_out = tuple(word.removeprefix("--ignore=") + "/" for word in words if word.startswith("--ignore="))
        return name.startswith(tuple(f"{word}/" for word in words)) and not name.startswith(left_out)

    files = sorted(path.relative_to(TESTS.parent).as_posix() for path in TESTS.rglob("test_*.py"))
    taken = {name: [part for part, words in testing.PARTS.items() if takes(words, name)] for name in files}
    assert {name: parts for name, parts in taken.items() if len(parts) != 1} == {}


@pytest.mark.parametrize(
    ("tests", "failures", "errors", "skipped", "expected"), [(10, 0, 0, 0, (10, 0, 0)), (10, 1, 2, 3, (4, 3, 3))]
)
def test_counts_of_a_report(tmp_path, tests, failures, errors, skipped, expected):
    report = tmp_path / "unit.xml"
    suite = f'<testsuite tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"/>'
    report.write_text(f"<testsuites>{suite}</testsuites>")
    assert testing.counted(report) == expected


def test_a_report_cut_short_counts_nothing(tmp_path):
    (tmp_path / "unit.xml").write_text("<testsuites><testsuite tests=")
    assert testing.counted(tmp_path / "unit.xml") is None
    assert testing.counted(tmp_path / "missing.xml") is None


def test_another_host_and_editor_come_first():
    words = ["--frontend", "newest", "--host", "0.27.0", "tests/browser", "-k", "--host"]
    assert testing.another(words) == ({"frontend": "newest", "host": "0.27.0"}, ["tests/browser", "-k", "--host"])
    assert testing.another(["tests/unit"]) == ({}, ["tests/unit"])
    with pytest.raises(provision.StepFailed, match="--host needs a version"):
        testing.another(["--host"])


def test_a_host_that_no_package_carries(tmp_path):
    place = provision.Place(tmp_path / "python", tmp_path / "ComfyUI", ours=True)
    assert provision.other_host(place, provision.HOST) is place
    with pytest.raises(provision.StepFailed, match=r"choose 0\.24\.0, 0\.27\.0, 0\.30\.0, or set COMFYUI_PATH"):
        provision.other_host(place, "0.1.0")
