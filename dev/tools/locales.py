"""`python3 dev/run.py locales`: renew locales/en from the nodes, and list what the translations lack.

nodeDefs.json has the texts of nodes, main.json the names of their categories. English is the text in the code; zh and
ja are translated by hand. `@ { } $ |` mean something to the editor's translation library, so no text may hold them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runtime.inprocess import NO_HOST, find_host, load_pack, prepare_host, room
from tools.snapshot import FOLDERS

LOCALES = Path(__file__).resolve().parents[2] / "locales"
SPECIAL = set("@{}$|")
# Combos that list files or folders: of every node, and of one.
FILES = ("image", "prior", "extractor", "features", "encoder", "classifier", *FOLDERS)
FILES_OF = {"SketchAdaINStyle": ("decoder",)}
HOSTS_CATEGORIES = {"loaders", "training"}  # named by the editor itself


def english(node_class: Any) -> dict[str, Any]:
    """One node's texts in the shape of the editor's nodeDefs.json."""
    schema = node_class.GET_SCHEMA()
    inputs = {
        item.id: {"name": item.display_name or item.id, "tooltip": item.tooltip, **options(item, schema.node_id)}
        for item in schema.inputs
    }
    outputs = {
        str(i): {"name": item.display_name or item.id, "tooltip": item.tooltip} for i, item in enumerate(schema.outputs)
    }
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": inputs,
        "outputs": outputs,
    }


def options(item: Any, node_id: str) -> dict[str, Any]:
    """The choices of a combo that are words of ours (lists of files change from machine to machine)."""
    choices = getattr(item, "options", None)
    files = (*FILES, *FILES_OF.get(node_id, ()))
    if not choices or item.id in files or not all(isinstance(choice, str) for choice in choices):
        return {}
    return {"options": {choice.replace(".", "_"): choice for choice in choices}}


def leaves(tree: Any, path: str = "") -> dict[str, str]:
    """Every text by its place."""
    if isinstance(tree, dict):
        return {place: text for key, value in tree.items() for place, text in leaves(value, f"{path}/{key}").items()}
    return {path: tree}


def gaps(language: str, source: dict[str, Any], file: str = "nodeDefs.json") -> list[str]:
    """Places that a translation lacks, has too many, or that hold a special character."""
    path = LOCALES / language / file
    given = leaves(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    wanted = leaves(source)
    faults = [f"{language} lacks {place}" for place in wanted if place not in given]
    faults += [f"{language} has {place}, which no node has" for place in given if place not in wanted]
    return faults + [
        f"{language} {place}: holds one of {' '.join(sorted(SPECIAL))}"
        for place, text in given.items()
        if SPECIAL & set(text)
    ]


def all_english(nodes: list[Any]) -> dict[str, Any]:
    return {node.GET_SCHEMA().node_id: english(node) for node in nodes}


def categories(nodes: list[Any]) -> dict[str, Any]:
    """The parts of our categories that the editor has no name for. They count for every pack with such a category."""
    parts = {part for node in nodes for part in node.GET_SCHEMA().category.split("/")}
    return {"nodeCategories": {part: part for part in sorted(parts - HOSTS_CATEGORIES)}}


def main() -> int:
    host = find_host()
    if host is None:
        sys.exit(NO_HOST)
    prepare_host(host)
    load_pack()
    nodes = room("nodes").NODES
    faults = []
    for file, source in (("nodeDefs.json", all_english(nodes)), ("main.json", categories(nodes))):
        path = LOCALES / "en" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(source, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        faults += [fault for folder in sorted(LOCALES.iterdir()) for fault in gaps(folder.name, source, file)]
    print("\n".join(faults) or "all languages complete")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
