"""The pack as a guest: it changes nothing of the host, keeps its promises to saved graphs, explains every socket."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from helpers import PACK
from runtime import inprocess
from tools import import_time, snapshot

ROOMS = ("nodes", "samplers", "guidance", "pipelines", "training", "pictures", "networks", "batch", "starter")
# Arrows only run down.
MAY_IMPORT = {
    "__init__": {"nodes"},
    "nodes": {"nodes", "samplers", "guidance", "pipelines", "training", "pictures", "networks", "host", "files"},
    "samplers": {"samplers", "guidance", "pictures", "networks", "host"},
    "guidance": {"guidance", "pictures", "networks", "host"},
    "training": {"training", "pipelines", "pictures", "networks", "files"},
    "pipelines": {"pipelines", "pictures", "networks", "files"},
    "pictures": {"pictures", "networks", "files"},
    "host": {"host", "networks", "files"},
    "batch": {"batch", "files"},
    "starter": {"starter", "training", "samplers", "pictures", "networks", "files"},
    "networks": {"networks", "files"},
    "files": set(),
}
KNOW_THE_HOST = {"__init__", "nodes", "samplers", "host"}
HOST_NAMES = {
    *("comfy", "comfy_api", "comfy_extras", "comfy_execution", "nodes", "execution", "folder_paths", "node_helpers"),
    *("latent_preview", "server", "main"),
}
HEAVY = {
    *("kornia", "scipy", "transformers", "torchvision", "matplotlib", "cv2", "pandas", "sklearn", "skimage", "numba"),
    *("torch._dynamo", "torch._inductor", "sympy", "diffusers"),
}
SEVEN = {
    *("SketchLoader", "NoiseToT0", "ShapeInversion", "AppearanceEnergyGuidance", "CrossAttnRegionMap", "GradOpSolve"),
    "SketchGANDecode",
}


@pytest.fixture(scope="module")
def nodes(pack, room) -> dict:
    """Our node classes by id."""
    return {node.GET_SCHEMA().node_id: node for node in room("nodes").NODES}


@pytest.fixture(scope="module")
def imports() -> list[dict]:
    """Five imports of the pack, each in a fresh process (dev/tools/import_time.py)."""
    return import_time.measure(5)


def every_input(schema) -> list:
    """All inputs of a schema, those inside dynamic combos too."""
    found = []
    for item in schema.inputs:
        found.append(item)
        found += [deep for choice in getattr(item, "options", None) or [] for deep in getattr(choice, "inputs", [])]
    return found


def sources() -> list[tuple[str, Path]]:
    """(room, file) of every Python file that ships."""
    files = [(path.stem, path) for path in (PACK / "__init__.py", PACK / "host.py", PACK / "files.py") if path.exists()]
    return files + [(room, path) for room in ROOMS for path in sorted((PACK / room).rglob("*.py"))]


# --- a guest changes nothing -----------------------------------------------------------------------------------------


def test_import_leaves_the_host_unchanged(imports):
    assert imports[0]["changes"] == []


def test_import_brings_nothing_heavy(imports):
    heavy = [name for name in imports[0]["modules"] if name in HEAVY or name.split(".")[0] in HEAVY]
    assert heavy == []


def test_import_is_quick(imports):
    """0.1 s at most, counted in processor time, of the quickest of 5: what a run takes beyond that is the machine's
    (the same import took .06 s beside two busy processes and .11 s beside a whole test run)."""
    assert min(one["cpu_seconds"] for one in imports) <= 0.1


def test_the_change_detector_can_fail():
    import comfy.samplers

    before = import_time.snapshot()
    comfy.samplers.SAMPLER_NAMES.append("not ours")
    original = comfy.samplers.KSAMPLER.sample
    comfy.samplers.KSAMPLER.sample = lambda *_: None
    try:
        found = import_time.changes(before, import_time.snapshot())
    finally:
        comfy.samplers.SAMPLER_NAMES.remove("not ours")
        comfy.samplers.KSAMPLER.sample = original
    assert set(found) == {
        "comfy.samplers.SAMPLER_NAMES has other elements",
        "comfy.samplers.KSAMPLER.sample was replaced",
    }
    assert import_time.changes(before, import_time.snapshot()) == []


def test_the_live_host_lists_the_import(server):
    """The host's own "Import times" list names us, without a failure. (Seconds: `dev/run.py import_time --host`.)"""
    assert import_time.listed_seconds(server.log_text()) is not None


def test_no_id_of_the_host(nodes, all_nodes):
    assert set(nodes) & set(all_nodes) == set()


def test_the_host_lists_every_node(nodes, host_nodes):
    missing = [key for key, node in nodes.items() if host_nodes.NODE_CLASS_MAPPINGS.get(key) is not node]
    assert missing == []


# --- every door explains itself --------------------------------------------------------------------------------------


def test_ids_are_ours(nodes):
    assert [key for key in nodes if not key.startswith("Sketch") and key not in SEVEN] == []
    assert set(nodes) >= SEVEN


def test_every_node_is_described(nodes):
    faults = []
    for key, node in nodes.items():
        schema = node.GET_SCHEMA()
        faults += [f"{key}: no display name"] * (not schema.display_name)
        faults += [f"{key}: description of {len(schema.description or '')} letters"] * (
            len(schema.description or "") < 40
        )
        faults += [f"{key}: category {schema.category}"] * (
            not re.fullmatch(r"sketch(/[a-z ]+)*", schema.category or "")
        )
        faults += [f"{key}: no search aliases"] * (not schema.search_aliases)
    assert faults == []


def test_every_socket_has_a_tooltip(nodes):
    faults = []
    for key, node in nodes.items():
        schema = node.GET_SCHEMA()
        faults += [f"{key}, input {item.id}" for item in every_input(schema) if len(item.tooltip or "") < 15]
        faults += [f"{key}, output {item.id}" for item in schema.outputs if len(item.tooltip or "") < 15]
        faults += [f"{key}, output {item.id}: give it an id" for item in schema.outputs if item.id.startswith("_")]
    assert faults == []


def test_every_node_has_a_help_page(nodes):
    """The editor looks for <WEB_DIRECTORY>/docs/<id>.md; a page without its node is dead."""
    pages = {path.stem: path for path in (PACK / "web" / "docs").glob("*.md")}
    assert sorted(set(nodes) - set(pages)) == []
    assert sorted(set(pages) - set(nodes)) == []
    assert [key for key, path in pages.items() if len(path.read_text(encoding="utf-8")) < 300] == []


def test_help_pages_name_real_pictures():
    """Translations as well: the editor looks for their pictures beside the English pages."""
    docs = PACK / "web" / "docs"
    for page in docs.glob("**/*.md"):
        for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (docs / link).is_file(), f"{page.name} shows {link}, which is not there"


def test_help_is_served(nodes, server):
    for key in nodes:
        assert len(server.get(f"/extensions/sketchsynth/docs/{key}.md")) > 300


def test_locales_fit_the_schema(nodes):
    """A translation may name only what exists, and must not contain bare vue-i18n syntax."""
    for path in (PACK / "locales").glob("*/nodeDefs.json"):
        for key, entry in json.loads(path.read_text(encoding="utf-8")).items():
            assert key in nodes, f"{path.parent.name}: {key} is no node of ours"
            ids = {item.id for item in every_input(nodes[key].GET_SCHEMA())}
            assert set(entry.get("inputs", {})) <= ids, f"{path.parent.name}: {key}"
            texts = re.sub(r"\{'[@{}$|]+'\}", "", json.dumps(entry, ensure_ascii=False))
            values = re.findall(r'": "((?:[^"\\]|\\.)*)"', texts)
            assert [text for text in values if re.search(r"[@{}|]", text)] == [], f"{path.parent.name}: {key}"


# --- promises to saved graphs ----------------------------------------------------------------------------------------


def test_schema_snapshot(pack):
    """Append-only: `python3 dev/run.py snapshot` renews the file after a deliberate change."""
    kept = json.loads(snapshot.SNAPSHOT.read_text(encoding="utf-8"))
    now = snapshot.current(pack)
    assert snapshot.breaks(kept, now) == []
    assert kept == now, "something was added: run `python3 dev/run.py snapshot` and commit the file"


def test_the_snapshot_rule_can_fail():
    entry = {"id": "t0", "type": "FLOAT", "optional": False}
    mode = {"id": "mode", "type": "COMBO", "optional": False, "choices": ["a", "b"]}
    out = [{"id": "latent", "type": "LATENT"}]
    was = {"Node": {"category": "sketch", "inputs": [entry, mode], "outputs": out}}

    def node(inputs, outputs=out):
        return {"Node": {"category": "sketch", "inputs": inputs, "outputs": outputs}}

    late = {"id": "late", "type": "MODEL", "optional": False}
    assert snapshot.breaks(was, node([entry, mode, {**late, "optional": True}])) == []
    assert snapshot.breaks(was, node([entry, mode, {**late, "type": "INT"}])) == []
    assert snapshot.breaks(was, {}) == ["Node is gone"]
    assert snapshot.breaks(was, node([entry])) == ["Node, input mode is gone"]
    assert len(snapshot.breaks(was, node([mode, entry]))) == 2
    assert snapshot.breaks(was, node([entry, {**mode, "choices": ["a"]}])) == [
        "Node, input mode: lost the choices ['b']"
    ]
    assert snapshot.breaks(was, node([entry, mode, late])) == [
        "Node, new input late must be optional or have a default"
    ]
    assert snapshot.breaks(was, node([entry, mode], [])) == ["Node, output latent is gone"]


# --- the house -------------------------------------------------------------------------------------------------------


def imported_rooms(room: str, path: Path) -> list[tuple[int, str, bool]]:
    """(line, name, relative) of every import in a file: the room for relative ones, the top package for others."""
    inside = path.relative_to(PACK).parts[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name.split(".")[0], False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.lineno, (node.module or "").split(".")[0], False))
        elif isinstance(node, ast.ImportFrom):
            base = [*inside[: len(inside) - (node.level - 1)], *(node.module or "").split(".")]
            base = [part for part in base if part]
            found += [(node.lineno, (base or [alias.name])[0], True) for alias in node.names]
    return found


def test_arrows_only_run_down():
    faults = []
    for room, path in sources():
        for line, name, relative in imported_rooms(room, path):
            place = f"{path.relative_to(PACK)}:{line}"
            if relative and name not in MAY_IMPORT[room]:
                faults.append(f"{place} imports {name}")
            if not relative and name in HOST_NAMES and room not in KNOW_THE_HOST:
                faults.append(f"{place} imports {name} of the host; only {sorted(KNOW_THE_HOST)} may")
            if not relative and (PACK / name).is_dir() and name in ROOMS and name != "nodes":
                faults.append(f"{place} imports {name} absolutely: the pack has another name inside the host")
    assert faults == []


def test_what_nodes_share_knows_no_node():
    """nodes/parts is below the nodes: no module of it imports one of them."""
    faults = []
    for path in sorted((PACK / "nodes" / "parts").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                faults.append(f"{path.name}:{node.lineno} imports ..{node.module or ''}")
    assert faults == []


def test_nothing_is_kept_between_runs():
    """No `global`, no module-level container that waits to be filled, no gradients switched off by hand."""
    faults = []
    for room, path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(PACK)
        for node in tree.body:
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            empty = (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)
            containers = ("dict", "list", "set", "defaultdict")
            made = isinstance(value, ast.Call) and getattr(value.func, "id", "") in containers and not value.args
            if empty or made:
                faults.append(f"{place}:{node.lineno} keeps module-level state")
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                faults.append(f"{place}:{node.lineno} uses global")
            idle = room in ("nodes", "samplers", "guidance", "pipelines", "pictures")
            if isinstance(node, ast.Attribute) and node.attr == "no_grad" and idle:
                faults.append(f"{place}:{node.lineno} uses no_grad: nodes run inside inference_mode already")
    assert faults == []


# --- hosts old and new ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.2 or older", "0.3.50", "0.21.1", "0.21.9rc1"])
def test_an_old_host_is_told_so_in_one_sentence(pack, version):
    with pytest.raises(ImportError, match=rf"needs ComfyUI {pack.OLDEST} or newer, but this is ComfyUI {version}"):
        pack.check_version(version)


@pytest.mark.parametrize("version", ["0.22.0", "0.22.1", "0.30.0", "1.0", "nightly"])
def test_newer_hosts_pass(pack, version):
    pack.check_version(version)


def test_an_old_host_logs_the_sentence(pack, host_nodes, monkeypatch):
    """Through the host's own loader, before anything that an older host may lack is imported."""
    import comfyui_version

    monkeypatch.setattr(comfyui_version, "__version__", "0.21.0")
    for name in [name for name in sys.modules if name.split(".")[0] == pack.__name__.split(".")[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "comfy_api.latest", None)
    content, log = inprocess.try_load_pack()
    assert not content
    assert log.count(f"needs ComfyUI {pack.OLDEST} or newer, but this is ComfyUI 0.21.0") >= 1
    assert "comfy_api" not in log


def test_the_oldest_host_is_stated_once(pack):
    stated = (PACK / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-comfyui = ">={pack.OLDEST}"' in stated
    assert f"({pack.OLDEST} or newer)" in (PACK / "README.md").read_text(encoding="utf-8")
