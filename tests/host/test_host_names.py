"""Every host name that host.py uses exists in this host: an update that takes one away is seen here first."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

from helpers import PACK

SOURCE = (PACK / "host.py").read_text(encoding="utf-8")
HOST_MODULES = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "folder_paths",
    "latent_preview",
    "server",
    "nodes",
    "execution",
)

# Used on objects, so no dotted name shows them: class -> attributes and methods.
MEMBERS = {
    "comfy.model_patcher.ModelPatcher": [
        "get_model_object",
        "clone",
        "model_size",
        "get_wrappers",
        "add_wrapper_with_key",
    ],
    "comfy.sd.VAE": ["spacial_compression_encode", "encode"],
    "comfy.model_base.BaseModel": ["get_dtype_inference", "extra_conds", "memory_required"],
    "comfy.supported_models_base.BASE": ["set_inference_dtype", "sampling_settings", "latent_format"],
    "comfy.latent_formats.LatentFormat": [
        "latent_channels",
        "latent_dimensions",
        "spacial_downscale_ratio",
        "latent_rgb_factors",
    ],
    "comfy.model_sampling.EPS": ["noise_scaling", "inverse_noise_scaling"],
    "comfy.model_sampling.CONST": ["noise_scaling", "inverse_noise_scaling"],
    "comfy.model_sampling.ModelSamplingDiscrete": ["sigma_max"],
}


def is_host(name: str) -> bool:
    return name.split(".")[0] in HOST_MODULES


def dotted(node: ast.AST, names: dict[str, str]) -> str | None:
    """`known.EPS` as comfy.model_sampling.EPS, where names says what `known` stands for."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, names)
        return base and f"{base}.{node.attr}"
    return None


def host_names() -> set[str]:
    tree = ast.parse(SOURCE)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    names = {short: full for short, full in names.items() if is_host(full)}
    for node in ast.walk(tree):  # `known = comfy.model_sampling`
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and (full := dotted(node.value, names))
        ):
            names[node.targets[0].id] = full
    found = {dotted(node, names) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | set(names.values())
    return {name for name in found if name} | {
        a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names if is_host(a.name)
    }


def resolve(name: str):
    """The object behind a dotted name. Importing goes as far as modules go, attributes from there."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def test_the_list_is_read():
    assert {"comfy.model_sampling.CONST", "comfy.sd.VAE", "folder_paths.get_full_path", "comfy.utils"} <= host_names()
    assert len(host_names()) > 40


@pytest.mark.parametrize("name", sorted(host_names()))
def test_host_name_exists(loading, name):
    resolve(name.replace("PromptServer.instance", "PromptServer"))  # the one instance is there only while a server runs


def test_server_instance(loading):
    assert "PromptServer.instance = self" in inspect.getsource(resolve("server.PromptServer"))


@pytest.mark.parametrize("owner", MEMBERS)
def test_members_exist(loading, owner):
    for member in MEMBERS[owner]:
        assert hasattr(resolve(owner), member), f"{owner}.{member}"


def test_overridden_methods_are_called_as_we_expect(loading):
    base = resolve("comfy.model_base.BaseModel")
    assert list(inspect.signature(base.memory_required).parameters) == ["self", "input_shape", "cond_shapes"]
    assert [p.kind for p in inspect.signature(base.extra_conds).parameters.values()][1:] == [
        inspect.Parameter.VAR_KEYWORD
    ]
    init = inspect.signature(base.__init__).parameters
    assert {"model_config", "model_type"} <= set(init)
    assert "disable_unet_model_creation" in inspect.getsource(base.__init__)
    clone = inspect.getsource(resolve("comfy.model_patcher.ModelPatcher").clone)
    assert "cached_patcher_init" in clone
    assert "disable_dynamic=True" in clone
