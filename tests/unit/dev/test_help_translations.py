"""Help pages in Chinese and Japanese say as much as the English ones, in the words that the editor shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from helpers import PACK

DOCS = PACK / "web" / "docs"
LANGUAGES = ("zh", "ja")
TRANSLATED = sorted(path for path in DOCS.iterdir() if path.is_dir() and path.name != "pictures")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)")
FIRST_DOORS = 12


def texts(language: str) -> dict:
    return json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def test_the_first_doors_are_translated():
    assert len(TRANSLATED) >= FIRST_DOORS
    for folder in TRANSLATED:
        assert (DOCS / f"{folder.name}.md").is_file(), folder.name
        assert sorted(path.name for path in folder.iterdir()) == ["ja.md", "zh.md"], folder.name


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("folder", TRANSLATED, ids=lambda path: path.name)
def test_it_says_as_much(folder: Path, language: str):
    english = (DOCS / f"{folder.name}.md").read_text(encoding="utf-8")
    page = (folder / f"{language}.md").read_text(encoding="utf-8")
    words = texts(language)[folder.name]
    assert page.splitlines()[0] == f"# {words['display_name']}"
    assert PICTURE.findall(page) == PICTURE.findall(english)
    for mark in (r"^## ", r"^\|", r"^- \*\*", r"^```"):
        here, there = (len(re.findall(mark, text, re.M)) for text in (page, english))
        assert here == there, (mark, here, there)
    for key, entry in texts("en")[folder.name]["inputs"].items():
        names = {entry.get("name", key), key, key.replace("_", " ")}
        if any(f"**{name}" in english or f", {name}" in english for name in names):
            assert words["inputs"][key]["name"] in page, key
    assert all(len(line) <= 160 for line in page.splitlines() if not line.startswith("|"))
