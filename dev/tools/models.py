"""`python3 dev/run.py models [--hash]`: what models_manifest.json names, and what of it this ComfyUI has.

found: the file is there (with --hash: and its sha256 is the manifest's). wrong: it is there, but its size or hash is
another. missing: it is not; the line below says where it comes from and where it goes. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MANIFEST = Path(__file__).resolve().parents[2] / "models_manifest.json"
Json = dict[str, Any]


class Finding(NamedTuple):
    """One file of the manifest: state is "found", "wrong" or "missing"; note says why it is wrong."""

    entry: Json
    file: Json
    state: str
    path: Path | None
    note: str = ""


def read_manifest() -> list[Json]:
    return json.loads(MANIFEST.read_text(encoding="utf-8"))


def faults(manifest: list[Json]) -> list[str]:
    """What is wrong with the manifest itself."""
    wanted = {
        "id": str,
        "name": str,
        "role": str,
        "used_by": list,
        "optional": bool,
        "files": list,
        "license": str,
        "source": str,
    }
    found = []
    for entry in manifest:
        label = entry.get("id", "an entry without id")
        found += [
            f"{label}: {key} must be a {kind.__name__}"
            for key, kind in wanted.items()
            if not isinstance(entry.get(key), kind)
        ]
        for file in entry.get("files") or [{}]:
            found += [
                f"{label}: a file needs {key}" for key in ("folder", "filename", "url", "sha256") if key not in file
            ]
            digest = file.get("sha256")
            if digest is None and not file.get("sha256_reason"):
                found.append(f"{label}: a sha256 of null needs a sha256_reason")
            if digest is not None and not (len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
                found.append(f"{label}: {digest!r} is no sha256")
            if not str(file.get("url", "")).startswith("https://"):
                found.append(f"{label}: the url must begin with https://")
    ids = [entry.get("id") for entry in manifest]
    found += [f"{one} stands twice" for one in sorted({str(i) for i in ids if ids.count(i) > 1})]
    return found


def check(
    manifest: list[Json], locate: Callable[[str, str], Path | None], *, hashes: bool = False
) -> Iterator[Finding]:
    """Look for every file. locate(folder, filename) gives its path or None, as folder_paths.get_full_path does."""
    for entry in manifest:
        for file in entry["files"]:
            path = locate(file["folder"], file["filename"])
            if path is None:
                yield Finding(entry, file, "missing", None)
                continue
            note = ""
            size, wanted = path.stat().st_size, file.get("size_bytes")
            if wanted is not None and size != wanted:
                note = f"{size} bytes instead of {wanted}"
            elif hashes and file.get("sha256") and (digest := sha256_of(path)) != file["sha256"]:
                note = f"sha256 {digest} instead of {file['sha256']}"
            yield Finding(entry, file, "wrong" if note else "found", path, note)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main() -> int:
    import os

    from runtime import inprocess
    from tools.demo import models_folder

    parser = argparse.ArgumentParser(
        prog="models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hash", action="store_true", help="read the files and compare their sha256 too")
    options = parser.parse_args()
    folder = models_folder()
    os.environ.setdefault("SKETCHSYNTH_DEVICE", "cpu")
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host, cpu=True, base=folder.parent)
    inprocess.load_pack()
    import folder_paths

    def locate(kind: str, name: str) -> Path | None:
        path = folder_paths.get_full_path(kind, name) if kind in folder_paths.folder_names_and_paths else None
        return Path(path) if path else None

    findings = list(check(read_manifest(), locate, hashes=options.hash))
    for finding in findings:
        file, entry = finding.file, finding.entry
        print(
            f"{finding.state:8} {file['folder']}/{file['filename']}  ({entry['name']}: {entry['role']}) {finding.note}"
        )
        if finding.state != "found":
            print(f"         from {file['url']}\n         into {folder / file['folder']}   licence: {entry['license']}")
    print(", ".join(f"{sum(f.state == state for f in findings)} {state}" for state in ("found", "wrong", "missing")))
    return int(any(finding.state == "wrong" for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
