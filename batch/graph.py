"""A graph file, the inputs of it that a run changes, and the request body of one item."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from .prompt import GraphError, is_combo, options_of, slots, to_prompt

Json = dict[str, Any]
SHOWN = 12  # names in a message


class Target(NamedTuple):
    """One input that a run sets. spec: its entry in the server's node list. widget: where the editor form keeps its
    value, as (index of the node, index in widgets_values); None for graphs in API form and inside subgraphs."""

    node: str
    name: str
    spec: Any
    label: str
    widget: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """INT, FLOAT, BOOLEAN, STRING or COMBO."""
        return "COMBO" if is_combo(self.spec) else str(self.spec[0])

    @property
    def options(self) -> Json:
        """The limits and choices of the input."""
        return options_of(self.spec)

    @property
    def takes_files(self) -> bool:
        """Whether the editor would show an upload button for it."""
        return self.kind == "COMBO" and any(value for key, value in self.options.items() if key.endswith("_upload"))


def read(path: Path) -> Json:
    """The JSON of a graph file, in the editor's form or in API form.

    ValueError: no such file, not JSON, or neither of the two forms."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The graph {files.quote(path)} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"{files.quote(path)} is not JSON. Save the graph with Save or Export (API).") from error
    if isinstance(found, dict) and isinstance(found.get("prompt"), dict):  # as posted to a server
        found = found["prompt"]
    if isinstance(found, dict) and (isinstance(found.get("nodes"), list) or _is_api(found)):
        return found
    raise ValueError(f"{files.quote(path)} holds no graph. Save it in the editor with Save or Export (API).")


def _is_api(found: Json) -> bool:
    nodes = [node for node in found.values() if isinstance(node, dict) and "class_type" in node]
    return bool(nodes) and all(isinstance(node.get("inputs"), dict) for node in nodes)


class Graph:
    """A graph against one server's node list.

    source: what `read` returned. object_info: the server's /object_info. GraphError (a ValueError): a node that the
    server does not have, or a graph without output nodes."""

    def __init__(self, source: Json, object_info: Json) -> None:
        self.info = object_info
        self.workflow: Json | None = None
        if "nodes" in source:
            self.workflow = json.loads(json.dumps(source))
            self.prompt = to_prompt(source, object_info)
        else:
            nodes = {key: node for key, node in source.items() if isinstance(node, dict) and "class_type" in node}
            self.prompt = json.loads(json.dumps(nodes))
        for key, node in self.prompt.items():
            if node["class_type"] not in object_info:
                raise GraphError(f"Node {key} is of type {node['class_type']!r}, which this ComfyUI does not have.")
        if not any(object_info[node["class_type"]].get("output_node") for node in self.prompt.values()):
            raise GraphError("The graph has no output node. Add Save Image, or any other node that saves.")

    def title(self, key: str) -> str:
        """The node's title as the editor shows it."""
        node = self.prompt[key]
        shown = (node.get("_meta") or {}).get("title")
        return shown or self.info[node["class_type"]].get("display_name") or node["class_type"]

    def targets(self) -> Iterator[Target]:
        """Every input that holds a value and not a link, in the order of the graph."""
        for key, node in self.prompt.items():
            for name, spec in specs_of(self.info[node["class_type"]], node["inputs"]).items():
                if name in node["inputs"] and not is_link(node["inputs"][name]):
                    yield Target(key, name, spec, f"{self.title(key)}.{name}")

    def find(self, wanted: str) -> Target:
        """The input of that name: "Load Sketch.image", with the node's title, its type's name or #id, and the input's
        name as the server or the editor shows it. Upper and lower case are alike. "Load Sketch" alone is its file.

        ValueError: none, more than one, or an input that gets its value from a link."""
        pairs = [(wanted[:i], wanted[i + 1 :]) for i, letter in enumerate(wanted) if letter == "."]
        if not pairs and not self._matching(wanted, None, True) + self._matching(wanted, None, False):
            raise ValueError(f"{files.quote(wanted)} names no input. Write 'node.input', such as {self._example()}.")
        for exact in (True, False):  # a title of the person's own comes before the names of types
            found = [t for node, name in pairs for t in self._matching(node.strip(), name.strip(), exact)]
            found += self._matching(wanted.strip(), None, exact)
            if found:
                break
        if not found:
            self._explain(wanted, pairs)
        if len(found) > 1:
            alike = ", ".join(f"#{target.node}.{target.name} ({target.label})" for target in found[:SHOWN])
            raise ValueError(
                f"{files.quote(wanted)} fits more than one input: {alike}. Use the number, or give titles."
            )
        return found[0]._replace(widget=self._widget(found[0]))

    def _matching(self, node: str, name: str | None, exact: bool) -> list[Target]:
        """Inputs of that name, or without a name those that take files, of the nodes of that name."""
        mine = [target for target in self.targets() if self._is_node(target.node, node, exact)]
        return [t for t in mine if (t.takes_files if name is None else _is_input(t.name, t.spec, name))]

    def _is_node(self, key: str, wanted: str, exact: bool) -> bool:
        if wanted.startswith("#"):
            return key == wanted[1:]
        kind = self.prompt[key]["class_type"]
        names = [self.title(key)] if exact else [kind, self.info[kind].get("display_name") or kind]
        return _plain(wanted) in [_plain(name) for name in names]

    def _explain(self, wanted: str, pairs: list[tuple[str, str]]) -> None:
        for node, name in pairs:
            keys = [key for key in self.prompt for exact in (True, False) if self._is_node(key, node.strip(), exact)]
            for key in dict.fromkeys(keys):
                links = [v for k, v in self.prompt[key]["inputs"].items() if _plain(k) == _plain(name) and is_link(v)]
                if links and links[0][0] in self.prompt:
                    raise ValueError(
                        f"{files.quote(wanted)} gets its value from the node {self.title(links[0][0])!r}. Set that "
                        "node's input, or remove the link."
                    )
            if keys:
                known = [target.name for target in self.targets() if target.node in keys]
                raise ValueError(f"{files.quote(wanted)}: that node's inputs are {', '.join(dict.fromkeys(known))}.")
        known = list(dict.fromkeys(target.label for target in self.targets()))
        near = difflib.get_close_matches(wanted, known, 3, 0.4) or known[:SHOWN]
        raise ValueError(f"The graph has no input {files.quote(wanted)}. Did you mean {' or '.join(near)}?")

    def _example(self) -> str:
        return files.quote(next((target.label for target in self.targets()), "Load Image.image"))

    def _widget(self, target: Target) -> tuple[int, int] | None:
        if self.workflow is None:
            return None
        for index, node in enumerate(self.workflow["nodes"]):
            values = node.get("widgets_values")
            if str(node["id"]) == target.node and isinstance(values, list):
                definition = self.info[node["type"]]
                names = [slot.name for slot in slots(definition, values)]
                place = names.index(target.name) if target.name in names else len(values)
                return (index, place) if place < len(values) else None
        return None

    def body(self, values: Iterable[tuple[Target, Any]]) -> bytes:
        """What is posted to /prompt for one item, without the prompt_id: JSON with the values in their places. In the
        editor form the graph that the host saves into pictures holds them too."""
        for target, value in values:
            self.prompt[target.node]["inputs"][target.name] = value
            if target.widget is not None and self.workflow is not None:
                node, place = target.widget
                self.workflow["nodes"][node]["widgets_values"][place] = value
        extra = {} if self.workflow is None else {"extra_data": {"extra_pnginfo": {"workflow": self.workflow}}}
        return json.dumps({"prompt": self.prompt, **extra}, separators=(",", ":")).encode()

    def last_output(self) -> str:
        """The output node with the longest way behind it: the one that shows the final result."""
        depth: dict[str, int] = {}

        def measure(key: str) -> int:
            if key not in depth:
                depth[key] = 0  # a loop, which the server refuses, must not hang here
                links = [v for v in self.prompt[key]["inputs"].values() if is_link(v) and str(v[0]) in self.prompt]
                depth[key] = 1 + max((measure(str(link[0])) for link in links), default=0)
            return depth[key]

        outputs = [k for k, node in self.prompt.items() if self.info[node["class_type"]].get("output_node")]
        saving = [key for key in outputs if "save" in self.prompt[key]["class_type"].lower()]
        return max(saving or outputs, key=measure)


def is_link(value: Any) -> bool:
    """Whether an input's value is a link to another node's output: [id, slot]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def specs_of(definition: Json, inputs: Json) -> dict[str, Any]:
    """The entries of a node's inputs by name, those inside dynamic combos ("mode.scale") as they are chosen now."""
    found: dict[str, Any] = {}

    def add(sections: Json, before: str) -> None:
        for section in ("required", "optional"):
            for name, spec in (sections.get(section) or {}).items():
                found[before + name] = spec
                if spec[0] == "COMFY_DYNAMICCOMBO_V3":
                    chosen = inputs.get(before + name)
                    option = next((o for o in spec[1]["options"] if o["key"] == chosen), None)
                    if option:
                        add(option["inputs"], f"{before}{name}.")

    add(definition["input"], "")
    return found


def _is_input(name: str, spec: Any, wanted: str) -> bool:
    return _plain(wanted) in (_plain(name), _plain(str(options_of(spec).get("display_name") or name)))


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")
