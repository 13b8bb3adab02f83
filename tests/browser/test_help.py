"""Pictures in help pages: the editor's own renderer finds them where the host serves them."""

from __future__ import annotations

import json
import re

from runtime.comfy_server import NAME, PACK

DOCS = PACK / "web" / "docs"
RENDER = """
async ([text, base]) => {
  const page = document.createElement('div')
  page.innerHTML = window.app.extensionManager.renderMarkdownToHtml(text, base)
  document.body.append(page)
  const pictures = [...page.querySelectorAll('img')]
  await Promise.allSettled(pictures.map(one => one.decode()))
  const found = pictures.map(one => [new URL(one.src).pathname, one.naturalWidth, one.alt])
  page.remove()
  return found
}
"""


def test_every_picture_shows(editor):
    """Translations (<node>/<language>.md) as well: the editor looks for their pictures beside the English pages."""
    pages = {path: path.read_text(encoding="utf-8") for path in DOCS.glob("**/*.md")}
    shown = {path: text for path, text in pages.items() if "![" in text}
    assert len({path.stem for path in shown if path.parent == DOCS}) >= 12
    for path, text in shown.items():
        name = path.stem if path.parent == DOCS else path.parent.name
        found = editor.page.evaluate(RENDER, [text, f"/extensions/{NAME}/docs/"])
        assert found, name
        for address, width, words in found:
            assert address == f"/extensions/{NAME}/docs/pictures/{name}.jpg"
            assert width >= 200, address
            assert len(words) > (10 if path.parent == DOCS else 4), "Chinese says more with fewer signs"
    named = {one for text in pages.values() for one in re.findall(r"\]\((pictures/[^)]+)\)", text)}
    assert named == {f"pictures/{path.name}" for path in (DOCS / "pictures").iterdir()}
    assert all(path.stat().st_size <= 40_000 for path in (DOCS / "pictures").iterdir())


def test_help_in_the_editors_language(editor):
    """Whatever the editor asks for in Chinese and Japanese is there, or falls back to English."""
    asked = editor.page.evaluate(
        """async (pages) => Object.fromEntries(await Promise.all(pages.map(async page =>
          [page, (await (await fetch(`/extensions/sketchsynth/docs/${page}`)).text()).split('\\n')[0]])))""",
        [f"NoiseToT0/{language}.md" for language in ("zh", "ja")],
    )
    for language in ("zh", "ja"):
        texts = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
        assert asked[f"NoiseToT0/{language}.md"] == f"# {texts['NoiseToT0']['display_name']}"
