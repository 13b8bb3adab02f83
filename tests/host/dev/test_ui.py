"""`python3 dev/run.py ui`: what a new home begins with."""

from __future__ import annotations

import json

from tools.ui import first_settings


def test_templates_are_a_course_in_a_new_home(tmp_path):
    first_settings(tmp_path)
    path = tmp_path / "user" / "default" / "comfy.settings.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {"Comfy.Templates.SortBy": "alphabetical"}
    path.write_text('{"Comfy.Locale": "ja"}', encoding="utf-8")
    first_settings(tmp_path)
    assert path.read_text(encoding="utf-8") == '{"Comfy.Locale": "ja"}', "a person's settings are left as they are"
