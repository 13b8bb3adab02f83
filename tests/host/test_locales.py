"""The editor's translations: English is the code's own text, zh and ja lack nothing and break nothing."""

from __future__ import annotations

import json

import pytest

from tools.locales import LOCALES, all_english, categories, gaps


def test_english_is_what_the_code_says(room):
    written = json.loads((LOCALES / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert written == all_english(room("nodes").NODES), "run `python3 dev/run.py locales`"
    named = json.loads((LOCALES / "en" / "main.json").read_text(encoding="utf-8"))
    assert named == categories(room("nodes").NODES), "run `python3 dev/run.py locales`"


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
def test_nothing_is_missing_or_too_much(language, room):
    assert gaps(language, all_english(room("nodes").NODES)) == []
    assert gaps(language, categories(room("nodes").NODES), "main.json") == []


def test_a_gap_would_be_seen(room):
    source = all_english(room("nodes").NODES)
    source["Extra"] = {"display_name": "new"}
    assert any("Extra" in fault for fault in gaps("zh", source))
