"""Imports run one way, and what must open fast imports little."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "seg_demo"
# What each package may import of the others, besides itself; everything may import core. Imports run down this list only.
LAYERS = {
    "core": set(),
    "inputs": set(),
    "masks": set(),
    "outputs": {"masks"},
    "networks": {"masks"},
    "inference": {"networks", "masks", "inputs", "hub", "serving"},
    "hub": {"networks"},
    "serving": {"inference", "hub", "networks", "masks", "inputs"},
    "datasets": {"hub", "masks", "inputs", "outputs"},
    "jobs": {"serving", "hub", "inputs"},
    "gateway": {"serving", "inference", "hub", "inputs", "ui"},
    "ui": {"gateway", "jobs", "datasets", "serving", "inference", "hub", "networks", "masks", "inputs", "outputs"},
}


def imports(path: Path) -> set[str]:
    """Absolute names that a file imports, anywhere in it, but for those that only a type checker sees."""
    names: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))
    return names


def package(name: str) -> str:
    """The package of seg_demo that a dotted name is in."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    names = imports(path)
    assert not any(name.split(".")[0] == "train" for name in names), "seg_demo never imports train"
    if here not in LAYERS:
        return
    for name in names:
        if name.split(".")[0] == "seg_demo" and package(name) in LAYERS and package(name) not in (here, "core"):
            assert package(name) in LAYERS[here], f"{here} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_packages(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    libraries = {name.split(".")[0] for name in imports(path)}
    if parts[0] not in ("ui", "gateway"):
        assert "gradio" not in libraries
    if parts[0] == "core":
        assert libraries <= {"numpy", "seg_demo", *sys.stdlib_module_names}
    if parts[0] in ("inputs", "outputs", "__init__.py"):
        assert "torch" not in libraries


def test_every_package_is_known() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders <= set(LAYERS), "a new package needs its row in LAYERS"


@pytest.mark.parametrize("module", ["seg_demo", "seg_demo.core.types", "seg_demo.networks", "seg_demo.serving.catalog"])
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'torchvision', 'gradio'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
