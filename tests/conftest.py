"""Fixtures: the pack as ComfyUI loads it in this process, a live server, and a browser page.

tests/unit needs no ComfyUI: its own conftest imports the pack's rooms without the host. tests/host and tests/browser
call `need_host()` when they are collected. How the host gets into the process, and the name trap behind it:
dev/runtime/inprocess.py. `confcutdir = tests` (in pyproject.toml) keeps pytest from importing the pack's root by
itself, outside the host.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "dev")]
from helpers import GOLDEN, TESTS  # noqa: E402
from helpers.host import need_host  # noqa: E402
from runtime import inprocess  # noqa: E402

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")


def lacking(sentence: str) -> None:
    """What a test needs is not here: a skip for a person, a failure in CI, where nothing may be skipped unseen."""
    if IN_CI:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def host_nodes() -> ModuleType:
    """The host's own `nodes` module, with the core nodes registered (not the extras: see `all_nodes`)."""
    nodes = inprocess.host_nodes()
    assert Path(nodes.__file__ or "").parent == need_host(), "`nodes` must be the host's nodes.py, not our folder"
    return nodes


def is_ours(node_class: type) -> bool:
    return node_class.__module__.startswith(inprocess.pack_name())


@pytest.fixture(scope="session")
def all_nodes(host_nodes: ModuleType) -> dict[str, Any]:
    """Every node class of the bare host by id, extras included."""
    core = {key: value for key, value in host_nodes.NODE_CLASS_MAPPINGS.items() if not is_ours(value)}
    asyncio.run(host_nodes.init_builtin_extra_nodes())
    extras = {key: value for key, value in host_nodes.NODE_CLASS_MAPPINGS.items() if not is_ours(value)}
    return {**core, **extras}


@pytest.fixture(scope="session")
def loading(host_nodes: ModuleType) -> tuple[bool, str]:
    """Loads the pack once, as the host does. Returns whether the host was content, and what it logged."""
    return inprocess.try_load_pack()


@pytest.fixture(scope="session")
def pack(loading: tuple[bool, str]) -> ModuleType:
    """The pack's root module."""
    content, log = loading
    assert content, f"the host refused the pack:\n{log}"
    return sys.modules[inprocess.pack_name()]


@pytest.fixture(scope="session")
def room(loading: tuple[bool, str]) -> Callable[[str], ModuleType]:
    """`room("samplers.levels")` is that module of the pack. Works even while another room is broken."""
    return inprocess.room


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


# --- the live server and the browser ---------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick layers first: unit, host, browser. (The browser's event loop must not run under tests with their own.)"""
    order = {"unit": 0, "host": 1, "browser": 2}
    items.sort(key=lambda item: order[item.path.relative_to(TESTS).parts[0]])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A live ComfyUI (dev/runtime/comfy_server.py) with the pack linked in, on the CPU, with its own empty folders.

    `server.run(prompt)` gives the outputs by node id, `server.picture(image)` a file's bytes, `server.upload(name,
    bytes)` puts a picture into the input folder; `submit`, `wait`, `interrupt`, `get_json`, `object_info`, `log_text`
    do as they say.
    """
    from runtime.comfy_server import ComfyServer

    base = tmp_path_factory.mktemp("comfyui")
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"Comfy.TutorialCompleted": true, "Comfy.Release.Status": "skipped"}', encoding="utf-8")
    shutil.copytree(
        TESTS / "harness_pack", base / "custom_nodes" / "harness_pack"
    )  # another pack beside ours, with one template
    with ComfyServer(Path(sys.executable), need_host(), base, cpu=True) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium under playwright (synchronous API). One a module: its event loop must end before others need theirs."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed: run `python3 dev/run.py test`, which brings it.")
        return
    from runtime.provision import find_browser

    program = find_browser()
    if program is None:
        lacking("No Chromium, Chrome or Edge was found: install one or set SKETCHSYNTH_CHROMIUM to its program.")
        return
    quiet = ("background-networking", "component-update", "sync", "gpu", "quic")
    flags = ["--no-sandbox", "--no-first-run", *(f"--disable-{word}" for word in quiet)]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(program), args=flags)
        yield running
        running.close()


class Editor:
    """A page with the ComfyUI editor open. `page` is playwright's; `errors` collects what went wrong in it."""

    def __init__(self, page: Any, server: Any, shots: Path) -> None:
        self.page = page
        self.address = server.address
        self.patience = server.patience
        self.shots = shots
        page.set_default_timeout(30_000 * self.patience)
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        where = (message.location or {}).get("url", "")
        # A file of the host's that is not there, or an address outside (which tests block), is no fault of ours.
        foreign = message.text.startswith("Failed to load resource") and "sketchsynth" not in where
        foreign |= (
            "Content Security Policy" in message.text
        )  # the editor asks model hosts for sizes; the host forbids it
        if message.type == "error" and not foreign:
            self.errors.append(f"{message.text} ({where})")

    def open(self) -> None:
        self.page.goto(self.address, wait_until="domcontentloaded")
        self.page.wait_for_function("window.app?.extensionManager?.command", timeout=60_000 * self.patience)
        self.page.locator(".templates-tab-button").wait_for(timeout=60_000 * self.patience)
        self.page.wait_for_load_state("networkidle")
        self.errors = [
            error for error in self.errors if "sketchsynth" in error
        ]  # the editor's own start is not ours to judge

    def shot(self, name: str) -> Path:
        """A screenshot for a person to look at, in $SKETCHSYNTH_SHOTS or the test's own folder."""
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=str(path))
        return path


@contextmanager
def in_editor(server: Any, browser: Any, folder: Path) -> Iterator[Editor]:
    """The editor on the live server; nothing but that server can be reached from the page. folder: for screenshots."""
    shots = Path(os.environ.get("SKETCHSYNTH_SHOTS") or folder)
    shots.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport={"width": 1920, "height": 1080})
    context.route(lambda url: not url.startswith(server.address), lambda route: route.abort())
    made = Editor(context.new_page(), server, shots)
    made.open()
    yield made
    context.close()


@pytest.fixture
def editor(server: Any, browser: Any, tmp_path: Path) -> Iterator[Editor]:
    """The editor, freshly opened."""
    with in_editor(server, browser, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def one_editor(server: Any, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """One editor for all templates, as a person opens one after the other; it takes five seconds to start."""
    with in_editor(server, browser, tmp_path_factory.mktemp("shots")) as made:
        yield made


@pytest.fixture
def page(editor: Editor) -> Any:
    """The editor's page itself, for a test that wants playwright only."""
    return editor.page
