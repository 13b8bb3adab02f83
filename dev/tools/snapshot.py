"""`python3 dev/run.py snapshot [--breaking]`: renew tests/schema_snapshot.json after a deliberate change of a node.

Shared graphs name nodes, inputs and outputs, and saved widget values are a bare list. So once released, ids stay,
nothing is removed, and new inputs come last (DESIGN 4). A change that breaks this is refused unless --breaking says
it is meant (then the version's first number goes up).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).resolve().parents[2] / "tests" / "schema_snapshot.json"

# Combos that list what is in the input folder of this machine, nothing of ours.
FOLDERS = ("sketches", "exemplars", "photos", "folder", "results_folder", "references_folder")


def describe(node_class: Any) -> dict[str, Any]:
    """What a saved graph depends on: inputs in order (id, type, optional, choices), outputs in order (id, type)."""
    schema = node_class.GET_SCHEMA()
    return {
        "category": schema.category,
        "inputs": [entry for item in schema.inputs for entry in _inputs(item)],
        "outputs": [{"id": item.id, "type": item.get_io_type()} for item in schema.outputs],
    }


def _inputs(item: Any, prefix: str = "") -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "id": prefix + item.id,
        "type": item.get_io_type(),
        "optional": bool(getattr(item, "optional", False)),
    }
    choices = getattr(item, "options", None)
    nested: list[dict[str, Any]] = []
    if choices and hasattr(choices[0], "inputs"):  # a dynamic combo: each choice brings inputs of its own
        entry["choices"] = [choice.key for choice in choices]
        nested = [deep for choice in choices for one in choice.inputs for deep in _inputs(one, f"{prefix}{item.id}.")]
    elif isinstance(choices, list) and item.id not in FOLDERS:
        entry["choices"] = list(choices)
    return [entry, *nested]


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Every way in which a graph saved with `old` would not load the same with `new`."""
    found = []
    for node, was in old.items():
        now = new.get(node)
        if now is None:
            found.append(f"{node} is gone")
            continue
        for side in ("inputs", "outputs"):
            ids = [entry["id"] for entry in now[side]]
            for place, entry in enumerate(was[side]):
                label = f"{node}, {side[:-1]} {entry['id']}"
                if entry["id"] not in ids:
                    found.append(f"{label} is gone")
                elif ids[place] != entry["id"]:
                    found.append(f"{label} moved from place {place} to {ids.index(entry['id'])}")
                else:
                    found += [f"{label}: {change}" for change in _entry_breaks(entry, now[side][place])]
        fresh = now["inputs"][len(was["inputs"]) :]
        found += [f"{node}, new input {e['id']} must be optional or have a default" for e in fresh if _demands(e)]
    return found


def _entry_breaks(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changes = []
    if was["type"] != now["type"]:
        changes.append(f"type {was['type']} became {now['type']}")
    if was.get("optional") and not now.get("optional"):
        changes.append("was optional and is now required")
    lost = [choice for choice in was.get("choices", []) if choice not in now.get("choices", [])]
    if lost:
        changes.append(f"lost the choices {lost}")
    return changes


def _demands(entry: dict[str, Any]) -> bool:
    """A new required socket: an old graph has nothing for it (a widget would take its default)."""
    widgets = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "COMFY_DYNAMICCOMBO_V3")
    return not entry["optional"] and entry["type"] not in widgets


def current(pack: Any) -> dict[str, Any]:
    """The description of every node of the loaded pack, by id."""
    nodes = sys.modules[f"{pack.__name__}.nodes"].NODES
    return {node.GET_SCHEMA().node_id: describe(node) for node in sorted(nodes, key=lambda n: n.GET_SCHEMA().node_id)}


def main() -> int:
    from runtime import inprocess

    parser = argparse.ArgumentParser(prog="snapshot", description=__doc__)
    parser.add_argument(
        "--breaking", action="store_true", help="write it even though saved graphs will not load the same"
    )
    options = parser.parse_args()
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host, cpu=True)
    new = current(inprocess.load_pack())
    old = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    found = breaks(old, new)
    if found and not options.breaking:
        print("Saved graphs would break:\n  " + "\n  ".join(found) + "\nIf that is meant: add --breaking.")
        return 1
    SNAPSHOT.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    print(f"{SNAPSHOT}: {len(new)} nodes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
