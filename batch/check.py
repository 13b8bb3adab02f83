"""Whether a server can run a graph, told before anything is queued."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .. import files
from .graph import Json, Target, is_link, specs_of
from .values import check, choices

SHOWN = 20  # faults in a message


def faults(
    prompt: Json, object_info: Json, set_by_run: Collection[tuple[str, str]], has_input: Callable[[str], bool]
) -> list[str]:
    """What keeps a server from running the prompt, one sentence each; empty if nothing does.

    object_info: the server's node list. set_by_run: (node id, input) of the inputs that the run sets itself, checked
    when they are read. has_input: whether a name is a file of the server's input folder."""
    found: list[str] = []
    for key, node in prompt.items():
        shown = (node.get("_meta") or {}).get("title") or node["class_type"]
        definition = object_info.get(node["class_type"])
        if definition is None:
            found.append(f"it has no node of type {node['class_type']!r} ({shown}, #{key}): is its pack installed?")
            continue
        specs = specs_of(definition, node["inputs"])
        for name in definition["input"].get("required") or {}:
            if name not in node["inputs"] and not _fills_itself(specs[name]):
                found.append(f"{shown} (#{key}) lacks its input {name}.")
        for name, value in node["inputs"].items():
            if name in specs and not is_link(value) and (key, name) not in set_by_run:
                found += _fault(Target(key, name, specs[name], f"{shown}.{name}"), value, has_input)
    return found


def _fills_itself(spec: Any) -> bool:
    """Whether a missing value does no harm: dynamic inputs are spread over names of their own."""
    return isinstance(spec[0], str) and spec[0].startswith("COMFY_")


def _fault(target: Target, value: Any, has_input: Callable[[str], bool]) -> list[str]:
    if target.takes_files and isinstance(value, str):
        if value in (choices(target.spec) or []) or has_input(value):
            return []
        return [f"{target.label}: its input folder has no file {files.quote(value)}."]
    return [fault] if (fault := check(target, value)) else []


def told(name: str, found: list[str]) -> str:
    """The faults of one server as lines."""
    more = [f"  ... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join([f"{name} cannot run this graph:", *(f"  {fault}" for fault in found[:SHOWN]), *more])
