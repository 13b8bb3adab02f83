"""Editor graph -> API prompt, so that a template runs without a browser.

The editor saves nodes with positions, links and a bare list of widget values; the server wants named inputs. This
follows what the editor itself does on Run (frontend 1.47): muted nodes vanish, bypassed nodes pass the first input of
the same type on, reroutes and primitives dissolve, subgraphs unfold into nodes called "outer:inner". The browser test
holds both to the same answer for every template. `object_info` is the server's /object_info. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NEVER, BYPASS = 2, 4  # LGraphEventMode: muted, bypassed
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = -10, -20  # the ids of the two pseudo-nodes inside a subgraph
VIRTUAL = {"Note", "MarkdownNote", "Reroute", "PrimitiveNode"}  # editor-only nodes: the server never sees them
WIDGETS = {
    *(
        "INT",
        "FLOAT",
        "BOOLEAN",
        "STRING",
        "MARKDOWN",
        "COMBO",
        "COLOR",
        "IMAGECOMPARE",
        "BOUNDING_BOX",
        "CHART",
        "GALLERIA",
    ),
    *("PAINTER", "TEXTAREA", "CURVE", "RANGE", "BOUNDING_BOXES", "COLORS", "COMFY_DYNAMICCOMBO_V3"),
}
UPLOADS = ("image_upload", "animated_image_upload", "video_upload")

Json = dict[str, Any]


class GraphError(ValueError):
    """The graph cannot be turned into a prompt; the text names the node."""


class Slot:
    """One value of widgets_values: the input it belongs to, or None for the editor's own (seed control, upload)."""

    def __init__(self, name: str | None, spec: Any = None) -> None:
        self.name = name
        self.spec = spec


def slots(definition: Json, values: list[Any]) -> Iterator[Slot]:
    """The meaning of each entry of widgets_values, in order. `values` only decides what a dynamic combo unfolds to."""
    taken = 0
    inputs = definition["input"]
    for section in ("required", "optional"):
        specs = inputs.get(section) or {}
        for name in (definition.get("input_order") or {}).get(section) or specs:
            for slot in _slots_of(name, specs[name], values[taken:]):
                taken += 1
                yield slot
        if section == "required" and any(_is_upload(spec) for spec in specs.values()):
            taken += 1
            yield Slot(None)  # the upload button saves a value of its own


def options_of(spec: Any) -> Json:
    """The limits, defaults and choices of an input, from its entry in the node list."""
    return spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def is_combo(spec: Any) -> bool:
    """Whether an input offers choices; older nodes list them in place of the type."""
    return isinstance(spec[0], list) or spec[0] == "COMBO"


def _slots_of(name: str, spec: Any, values: list[Any]) -> Iterator[Slot]:
    kind, options = spec[0], options_of(spec)
    if options.get("forceInput") or not (is_combo(spec) or kind in WIDGETS or options.get("widgetType") in WIDGETS):
        return
    yield Slot(name, spec)
    control = options.get("control_after_generate")
    if control or (kind == "INT" and control is None and name in ("seed", "noise_seed")):
        yield Slot(None)
        if is_combo(spec):
            yield Slot(None)  # a combo's control comes with a filter text
    if kind == "COMFY_DYNAMICCOMBO_V3":
        chosen = next((option for option in options["options"] if values and option["key"] == values[0]), None)
        nested = chosen["inputs"] if chosen else {}
        taken = 1
        for section in ("required", "optional"):
            for inner, inner_spec in (nested.get(section) or {}).items():
                for slot in _slots_of(f"{name}.{inner}", inner_spec, values[taken:]):
                    taken += 1
                    yield slot


def _is_upload(spec: Any) -> bool:
    return is_combo(spec) and any(options_of(spec).get(name) for name in UPLOADS)


def widget_inputs(node: Json, definition: Json) -> Json:
    """The named widget values of a saved node. Missing trailing values take the default, as in the editor."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return dict(values)
    named: Json = {}
    for index, slot in enumerate(slots(definition, values)):
        if slot.name is None:
            continue
        if index < len(values):
            named[slot.name] = _wrapped(values[index], slot.spec)
        elif (default := _default(slot.spec)) is not None:
            named[slot.name] = default
    return named


def _default(spec: Any) -> Any:
    kind, options = spec[0], options_of(spec)
    if kind == "IMAGECOMPARE":
        return {"__value__": ["", ""]}
    choices = kind if isinstance(kind, list) else options.get("options") or []
    first = choices[0] if choices else None
    return options.get("default", first["key"] if isinstance(first, dict) else first)


def _wrapped(value: Any, spec: Any) -> Any:
    """A bare list would be read as a link by the server."""
    if not isinstance(value, list):
        return value
    return {"__type__": "CURVE", "__value__": value} if spec[0] == "CURVE" else {"__value__": value}


class _Level:
    """The root graph, or one instance of a subgraph: its nodes, its links, and the instance it came from."""

    def __init__(
        self, graph: Json, definitions: dict[str, Json], prefix: str = "", parent: _Level | None = None
    ) -> None:
        self.nodes: dict[str, Json] = {str(node["id"]): node for node in graph["nodes"]}
        self.links = {link["id"]: link for link in map(_link, graph.get("links") or [])}
        self.graph = graph
        self.prefix = prefix
        self.parent = parent
        self.instance = prefix.split(":")[-2] if prefix else None
        self.inner = {
            key: _Level(definitions[node["type"]], definitions, f"{prefix}{key}:", self)
            for key, node in self.nodes.items()
            if node["type"] in definitions and node.get("mode", 0) not in (NEVER, BYPASS)
        }

    def every_node(self) -> Iterator[tuple[_Level, Json]]:
        for key, node in self.nodes.items():
            if key in self.inner:
                yield from self.inner[key].every_node()
            else:
                yield self, node

    def source(self, node: Json, index: int, kind: str | None = None) -> Any:
        """What feeds input `index` of `node`: ["id", slot], ("value", x) for a constant, or None."""
        entry = node["inputs"][index]
        link = self.links.get(entry.get("link"))
        if link is None:
            return None
        if link["origin_id"] == SUBGRAPH_INPUT:
            return self._from_outside(link["origin_slot"])
        return self._output(self.nodes[str(link["origin_id"])], link["origin_slot"], kind or entry["type"])

    def _from_outside(self, index: int) -> Any:
        assert self.parent is not None
        assert self.instance is not None
        instance = self.parent.nodes[self.instance]
        if (instance.get("properties") or {}).get("proxyWidgets") and instance.get("widgets_values"):
            raise GraphError(f"subgraph {instance['id']} was saved by an older editor: open and save the graph once.")
        name = self.graph["inputs"][index]["name"]
        names = [entry["name"] for entry in instance["inputs"]]
        if name not in names:  # saved by an older editor, which kept a promoted widget's value at the inner node
            return None
        entry = instance["inputs"][names.index(name)]
        if entry.get("link") is not None:
            return self.parent.source(instance, names.index(name))
        promoted = [slot["name"] for slot in instance["inputs"] if slot.get("widget")]
        values = instance.get("widgets_values") or []
        place = promoted.index(name) if name in promoted else len(values)
        return ("value", values[place]) if place < len(values) else None

    def _output(self, node: Json, slot: int, kind: str) -> Any:
        key = str(node["id"])
        if node.get("mode", 0) == NEVER:
            return None
        if node.get("mode", 0) == BYPASS:
            index = _bypass(node, slot, kind)
            return None if index is None else self.source(node, index)
        if key in self.inner:
            inner = self.inner[key]
            ends = (link for link in inner.links.values() if link["target_id"] == SUBGRAPH_OUTPUT)
            link = next((link for link in ends if link["target_slot"] == slot), None)
            return link and inner._output(inner.nodes[str(link["origin_id"])], link["origin_slot"], kind)
        if node["type"] == "Reroute":
            return self.source(node, 0, kind)
        if node["type"] == "PrimitiveNode":
            return ("value", node["widgets_values"][0])
        return [f"{self.prefix}{key}", slot]


def _link(link: Any) -> Json:
    if isinstance(link, dict):
        return link
    return dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=False))


def _bypass(node: Json, slot: int, kind: str) -> int | None:
    """Which input a bypassed node hands on: the one opposite, if it fits, else the first of the type."""
    inputs, given = node.get("inputs") or [], node["outputs"][slot]["type"]
    if slot < len(inputs) and _fits(inputs[slot]["type"], given) and _fits(inputs[slot]["type"], kind):
        return slot
    exact = [i for i, entry in enumerate(inputs) if entry["type"] == kind]
    loose = [i for i, entry in enumerate(inputs) if _fits(entry["type"], given) and _fits(entry["type"], kind)]
    return next(iter(exact + loose), None)


def _fits(one: str, other: str) -> bool:
    either = {str(one).lower(), str(other).lower()}
    return "*" in either or bool(set(str(one).lower().split(",")) & set(str(other).lower().split(",")))


def to_prompt(workflow: Json, object_info: Json) -> dict[str, Json]:
    """The prompt {id: {class_type, inputs, _meta}} of an editor graph."""
    definitions = {entry["id"]: entry for entry in (workflow.get("definitions") or {}).get("subgraphs") or []}
    prompt: dict[str, Json] = {}
    for level, node in _Level(workflow, definitions).every_node():
        if node["type"] in VIRTUAL or node.get("mode", 0) in (NEVER, BYPASS):
            continue
        if node["type"] not in object_info:
            raise GraphError(f"node {node['id']} is of type {node['type']!r}, which this ComfyUI does not have.")
        definition = object_info[node["type"]]
        inputs = widget_inputs(node, definition)
        for index, entry in enumerate(node.get("inputs") or []):
            source = level.source(node, index)
            if isinstance(source, tuple):
                inputs[entry["name"]] = source[1]
            elif source is not None:
                inputs[entry["name"]] = source
        title = node.get("title") or definition.get("display_name") or node["type"]
        prompt[f"{level.prefix}{node['id']}"] = {
            "class_type": node["type"],
            "inputs": inputs,
            "_meta": {"title": title},
        }
    return prompt


def missing_files(prompt: dict[str, Json], object_info: Json) -> list[tuple[str, str, str]]:
    """(node id, input, value) of every choice that names a file this ComfyUI does not list."""
    missing = []
    for key, node in prompt.items():
        sections = object_info[node["class_type"]]["input"]
        for name, spec in {**(sections.get("required") or {}), **(sections.get("optional") or {})}.items():
            value = node["inputs"].get(name)
            choices = spec[0] if isinstance(spec[0], list) else options_of(spec).get("options")
            if spec[0] == "COMFY_DYNAMICCOMBO_V3" or not isinstance(choices, list) or not isinstance(value, str):
                continue
            if value not in choices and "." in value:
                missing.append((key, name, value))
    return missing
