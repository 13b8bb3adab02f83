"""Every template of workflows/: a graph that the host accepts, with its thumbnail, its models and its origin named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import PACK
from helpers.outputs import check_pictures, check_without_hints
from helpers.quick import quick
from runtime.comfy_server import NAME, PromptRefused
from runtime.provision import find_browser
from tools import graph, models

TEMPLATES = sorted((PACK / "workflows").glob("*.json"))
BLUEPRINTS = sorted((PACK / "subgraphs").glob("*.json"))
EDITOR_ONLY = graph.VIRTUAL
OFFERED_HOSTS = ("https://huggingface.co/", "https://civitai.com/")  # from here the editor offers to download ...
LOADABLE = (".safetensors", ".sft", ".ckpt", ".pth", ".pt")  # ... files with these endings

every_template = pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
every_graph = pytest.mark.parametrize("template", TEMPLATES + BLUEPRINTS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def info(server) -> dict:
    return server.object_info()


def read(template: Path) -> dict:
    return json.loads(template.read_text(encoding="utf-8"))


def all_nodes_of(workflow: dict) -> list[dict]:
    inner = (workflow.get("definitions") or {}).get("subgraphs") or []
    return [*workflow["nodes"], *(node for one in inner for node in one["nodes"])]


def named_models(workflow: dict) -> list[dict]:
    return [model for node in all_nodes_of(workflow) for model in (node.get("properties") or {}).get("models", [])]


def real_nodes(workflow: dict) -> list[dict]:
    subgraphs = {one["id"] for one in (workflow.get("definitions") or {}).get("subgraphs") or []}
    return [node for node in all_nodes_of(workflow) if node["type"] not in EDITOR_ONLY | subgraphs]


def test_there_are_templates():
    assert TEMPLATES, "workflows/ has no template"
    assert not list((PACK / "workflows").glob("*/*.json")), "templates in sub-folders are not listed by the host"


def test_the_host_lists_them(server):
    assert sorted(server.get_json("/workflow_templates")[NAME]) == sorted(template.stem for template in TEMPLATES)


@every_template
def test_thumbnail(template):
    from PIL import Image

    picture = template.with_suffix(".jpg")
    assert picture.is_file(), "the editor shows <template>.jpg and nothing else"
    with Image.open(picture) as image:
        assert image.format == "JPEG"
        assert min(image.size) >= 200
    assert picture.stat().st_size < 300_000


@every_graph
def test_nodes_and_widgets_fit(template, info):
    """Every node type exists, and each saved list of widget values has exactly the schema's length."""
    faults = []
    for node in real_nodes(read(template)):
        label = f"node {node['id']} ({node['type']})"
        if node["type"] not in info:
            faults.append(f"{label}: the host has no such node")
            continue
        values = node.get("widgets_values") or []
        meaning = list(graph.slots(info[node["type"]], values))
        while (
            meaning
            and meaning[-1].spec is not None
            and meaning[-1].spec[0] == "IMAGECOMPARE"
            and len(meaning) > len(values)
        ):
            meaning.pop()  # the comparison slider saves nothing
        if len(values) != len(meaning):
            faults.append(f"{label}: {len(values)} widget values for {[slot.name for slot in meaning]}")
        names = {name for part in ("required", "optional") for name in info[node["type"]]["input"].get(part) or {}}
        names.add("upload")  # the editor's own button
        unknown = [i["name"] for i in node.get("inputs") or [] if i["name"].split(".")[0] not in names]
        if unknown:
            faults.append(f"{label}: inputs {unknown} are not in the schema")
    assert faults == []


@every_graph
def test_origin_of_every_node(template, info):
    """cnr_id and ver let the manager offer the pack to somebody who lacks it."""
    faults = []
    for node in real_nodes(read(template)):
        ours = info[node["type"]]["python_module"] == f"custom_nodes.{NAME}"
        properties = node.get("properties") or {}
        if properties.get("cnr_id") != (NAME if ours else "comfy-core"):
            faults.append(f"node {node['id']} ({node['type']}): cnr_id {properties.get('cnr_id')}")
        if not properties.get("ver"):
            faults.append(f"node {node['id']} ({node['type']}): no ver")
    assert faults == []


@every_template
def test_has_a_note_and_reads_left_to_right(template):
    workflow = read(template)
    notes = [node for node in workflow["nodes"] if node["type"] in ("Note", "MarkdownNote")]
    assert any(len(str((note.get("widgets_values") or [""])[0])) > 60 for note in notes), (
        "a note should say what to try"
    )
    nodes = {node["id"]: node for node in workflow["nodes"]}

    def backwards(source: dict, target: dict) -> bool:
        right = target["pos"][0] >= source["pos"][0] + source["size"][0]
        return not right and target["pos"][1] < source["pos"][1] + source["size"][1]

    wrong = [link for link in workflow["links"] if backwards(nodes[link[1]], nodes[link[3]])]
    assert wrong == [], "every link should go to the right, or down"


@every_template
def test_models_are_named(template, info):
    """A loader's file stands in properties.models, with a link that the editor can offer, and in the manifest."""
    workflow = read(template)
    prompt = graph.to_prompt(workflow, info)
    absent = {value for _, _, value in graph.missing_files(prompt, info)}
    named = {model["name"]: model for model in named_models(workflow)}
    assert absent <= set(named), "a model file without properties.models"
    listed = {(file["folder"], file["filename"]): file for entry in models.read_manifest() for file in entry["files"]}
    for name, model in named.items():
        assert model["url"].startswith("https://"), name
        assert not model["url"].startswith(OFFERED_HOSTS) or name.endswith(LOADABLE), name
        assert (model["directory"], name) in listed, f"{name} is not in models_manifest.json"
        assert listed[model["directory"], name]["url"] == model["url"], name


def test_manifest_is_sound(pack, room, server):
    manifest = models.read_manifest()
    assert models.faults(manifest) == []
    known = set(server.object_info())
    ours = {key for key, node in server.object_info().items() if node["python_module"] == f"custom_nodes.{NAME}"}
    folders = set(server.get_json("/models")) | {entry["name"] for entry in server.get_json("/experiment/models")}
    for entry in manifest:
        assert entry["used_by"], entry["id"]
        assert set(entry["used_by"]) <= known, entry["id"]
        assert {file["folder"] for file in entry["files"]} <= folders, entry["id"]
    files = {file["filename"] for entry in manifest for file in entry["files"]}
    in_templates = {model["name"] for template in TEMPLATES for model in named_models(read(template))}
    assert in_templates <= files
    assert any(set(entry["used_by"]) & ours for entry in manifest)


@every_template
def test_runs_or_wants_only_model_files(template, info, server):
    """Starter templates give pictures over HTTP; a twin is refused for its missing model files and for nothing else."""
    prompt = graph.to_prompt(read(template), info)
    absent = {(key, name) for key, name, _ in graph.missing_files(prompt, info)}
    if absent:
        with pytest.raises(PromptRefused) as refused:
            server.submit(prompt)
        errors = refused.value.answer["node_errors"]
        seen = {(key, e["extra_info"]["input_name"]) for key, node in errors.items() for e in node["errors"]}
        assert seen == absent
        for error in (e for node in errors.values() for e in node["errors"]):
            ours = error["type"] == "custom_validation_failed"  # our loaders say more than the host's "not in list"
            assert "was not found in models/" in error["details"] if ours else error["type"] == "value_not_in_list"
        return
    if find_browser() is None:  # with one, tests/browser/test_editor.py runs every template in the editor
        outputs = server.run(quick(prompt), timeout=900)
        check_pictures(server, outputs)
        check_without_hints(outputs)


def test_manifest_check_can_fail(tmp_path):
    """models: found, wrong and missing are told apart."""
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    good.write_bytes(b"good")
    bad.write_bytes(b"baad")
    digest = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"
    files = [
        {"folder": "vae", "filename": name, "url": "https://x.org/f", "sha256": digest, "size_bytes": 4}
        for name in ("good.safetensors", "bad.safetensors", "none.safetensors")
    ]
    entry = {
        "id": "a",
        "name": "A",
        "role": "vae",
        "used_by": ["VAELoader"],
        "optional": False,
        "license": "MIT",
        "source": "s",
    }
    manifest = [{**entry, "files": files}]
    assert models.faults(manifest) == []

    def locate(_: str, name: str) -> Path | None:
        return tmp_path / name if (tmp_path / name).exists() else None

    assert [f.state for f in models.check(manifest, locate, hashes=True)] == ["found", "wrong", "missing"]
    assert [f.state for f in models.check(manifest, locate)] == ["found", "found", "missing"]
    files[0]["size_bytes"] = 5
    assert next(iter(models.check(manifest, locate))).state == "wrong"
    files[0] |= {"sha256": None, "url": "http://x.org"}
    assert len(models.faults(manifest)) == 2
