"""The canvas in the editor's languages: every text in web/canvas has its Chinese and Japanese."""

from __future__ import annotations

import json
import re

import pytest

from helpers import PACK

CANVAS = PACK / "web" / "canvas"
SAID = r'(?:\bsay|\bslider|\bact)\(\s*"([^"]+)"|button\(\s*"\w+", "([^"]+)"|\[\s*"\w+", "([A-Z][^"]+)", "\w"\]'


def said() -> set[str]:
    code = "\n".join(path.read_text(encoding="utf-8") for path in CANVAS.glob("*.js"))
    found = {next(filter(None, groups)) for groups in re.findall(SAID, code)}
    return found | set(re.findall(r'"(Width|Height)"', code))


def test_the_texts_are_found():
    assert {"Brush", "Pick a colour", "Undo", "Size", "Photo ...", "Width", "Saved", "Add a colour"} <= said()


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_every_text_is_translated_and_none_is_left_over(language):
    words = json.loads((CANVAS / "words.json").read_text(encoding="utf-8"))[language]
    assert set(words) == said()
    assert all(words.values())


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_the_setting_is_translated(language):
    """The editor reads settings.json by the setting's id, with _ for each dot."""
    [setting] = re.findall(r'SETTING = "([^"]+)"', (CANVAS / "live.js").read_text(encoding="utf-8"))
    texts = json.loads((PACK / "locales" / language / "settings.json").read_text(encoding="utf-8"))
    assert set(texts) == {setting.replace(".", "_")}
    assert all(texts[setting.replace(".", "_")][part] for part in ("name", "tooltip"))
