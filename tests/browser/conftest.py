"""The editor needs a live ComfyUI; `server`, `browser` and `editor` are in tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.editor import RENDERERS, VUE_NODES, setting
from helpers.host import need_host

need_host()


@pytest.fixture(params=RENDERERS)
def renderer(request: pytest.FixtureRequest, editor: Any) -> Iterator[str]:
    """The name of the renderer that the editor is in."""
    before = setting(editor.page, VUE_NODES, RENDERERS[request.param])
    yield request.param
    setting(editor.page, VUE_NODES, before)  # the server keeps it, for the tests that follow


@pytest.fixture
def refused(editor: Any) -> list[str]:
    """Addresses of pictures that the server does not give, as they come."""
    found: list[str] = []
    editor.page.on("response", lambda r: found.append(r.url) if "/view?" in r.url and not r.ok else None)
    return found
