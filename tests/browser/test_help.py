"""Pictures in help pages: the editor's own renderer finds them where the host serves them."""

from __future__ import annotations

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
    pages = {path: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    shown = {path.stem: text for path, text in pages.items() if "![" in text}
    assert len(shown) >= 12
    for name, text in shown.items():
        found = editor.page.evaluate(RENDER, [text, f"/extensions/{NAME}/docs/"])
        assert found, name
        for address, width, words in found:
            assert address == f"/extensions/{NAME}/docs/pictures/{name}.jpg"
            assert width >= 200, address
            assert len(words) > 10
    named = {one for text in pages.values() for one in re.findall(r"\]\((pictures/[^)]+)\)", text)}
    assert named == {f"pictures/{path.name}" for path in (DOCS / "pictures").iterdir()}
    assert all(path.stat().st_size <= 40_000 for path in (DOCS / "pictures").iterdir())
