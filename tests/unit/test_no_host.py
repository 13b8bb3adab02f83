"""The maths is tested without ComfyUI. (While only tests/unit runs, its conftest also watches what gets imported.)"""

from __future__ import annotations

import ast

from helpers import TESTS

HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "execution", "server"}


def test_unit_tests_import_nothing_of_comfyui():
    faults = []
    for path in sorted((TESTS / "unit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            faults += [f"{path.relative_to(TESTS)} imports {name}" for name in names if name.split(".")[0] in HOST]
    assert faults == []
