"""The house: imports run one way, without circles, between a bounded number of modules; and what must open fast imports little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for top in ("seg_demo", "train", "synthetic") for path in (ROOT / top).rglob("*.py"))


def named(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(path): path for path in FILES}
# What each part may import of the others, besides itself: arrows run down this list, but for what EXCEPT names.
LAYERS = {
    "core": set(),
    "inputs": {"core"},
    "masks": {"core"},
    "outputs": {"core", "inputs", "masks"},
    "annotations": {"core", "inputs", "masks", "outputs", "hub"},
    "networks": {"core", "masks"},
    "hub": {"core", "networks"},
    "inference": {"core", "inputs", "masks", "networks"},
    "serving": {"core", "inputs", "masks", "networks", "hub", "inference"},
    "datasets": {"core", "inputs", "masks", "outputs", "hub", "annotations"},
    "jobs": {"core", "inputs", "hub", "serving"},
    "gateway": {"core", "inputs", "hub", "inference", "serving"},
    "ui": {"core", "inputs", "masks", "outputs", "networks", "hub", "inference", "serving", "datasets", "jobs", "gateway", "annotations"},
    "synthetic": {"core", "annotations"},  # beside train
    "train": {"core", "inputs", "annotations", "masks", "outputs", "networks", "hub", "inference", "serving", "synthetic"},
    # What stands above all: the package's own names, and the command line.
    "seg_demo": {"core", "inputs", "outputs", "inference", "serving", "annotations"},
}
# Arrows that run up, each inside a function or for one name; there shall be no others, and none that has gone.
EXCEPT = {
    ("seg_demo.hub.untrusted", "seg_demo.hub.cache"),
}
# On the way to 600 arrows, and 15 of a hundred modules with a single importer.
MOST_MODULES, MOST_ARROWS, MOST_ALONE = 146, 712, 0.144


@lru_cache(maxsize=None)
def imports(module: str) -> frozenset[str]:
    """Dotted names that a module imports, anywhere in it, but for those that only a type checker sees."""
    names: set[str] = set()
    todo: list[ast.AST] = [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))
    return frozenset(names)


@lru_cache(maxsize=None)
def arrows(module: str) -> frozenset[str]:
    """The modules of the house that a module imports."""
    found = {name if name in MODULES else name.rpartition(".")[0] for name in imports(module)}
    return frozenset(found & MODULES.keys() - {module})


def part(module: str) -> str:
    """The part of the house that a module is in: its folder below ``seg_demo``, or the top one."""
    top, _, rest = module.partition(".")
    folder = rest.partition(".")[0]
    return folder if top == "seg_demo" and (ROOT / top / folder).is_dir() and folder else top


def test_imports_run_one_way() -> None:
    # Every module may ask for the version.
    wrong = [
        f"{module} must not import {other}"
        for module in MODULES
        for other in arrows(module)
        if part(other) not in (part(module), "seg_demo") and part(other) not in LAYERS[part(module)] and (module, other) not in EXCEPT
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_passes_the_hubs_door() -> None:
    """What the page, datasets, jobs and training want of the Hub, ``lookup``, ``client`` and ``licences`` have; the sandbox is started and ended from
    outside."""
    for module in MODULES:
        if part(module) in ("ui", "gateway", "datasets", "jobs", "train"):
            parts = {name.split(".")[2] for name in imports(module) if name.startswith("seg_demo.hub.")}
            assert parts <= {"lookup", "client", "licences", "untrusted"}, module


def test_the_vocabulary_comes_through_cores_door() -> None:
    """Types, errors and files have one address for everybody, whichever file of ``core`` they stand in."""
    from seg_demo import core

    wrong = [
        f"{module}: {name.rpartition('.')[2]} is imported from seg_demo.core"
        for module in MODULES
        for name in imports(module)
        if part(module) != "core" and name.startswith("seg_demo.core.") and name.count(".") == 3 and name.rpartition(".")[2] in core.__all__
    ]
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_stay_in_their_packages() -> None:
    for module in MODULES:
        here, libraries = part(module), {name.split(".")[0] for name in imports(module)}
        if here not in ("ui", "gateway"):
            assert "gradio" not in libraries, module
        if here == "core":
            assert libraries <= {"numpy", "filelock", "seg_demo", *sys.stdlib_module_names}, module
        if here in ("inputs", "outputs", "seg_demo", "synthetic"):
            assert "torch" not in libraries, module


def test_every_part_is_known() -> None:
    assert {part(module) for module in MODULES} <= LAYERS.keys(), "a new part needs its row in LAYERS"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module: {other for other in arrows(module) if (module, other) not in EXCEPT} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" → ".join(reversed(circle.args[1])))


def test_every_exception_is_still_one() -> None:
    gone = [pair for pair in EXCEPT if pair[0] not in MODULES or pair[1] not in arrows(pair[0])]
    assert not gone, f"take them from EXCEPT: {gone}"


def test_the_house_stays_small_enough_to_know() -> None:
    """One noun, one file: bounds of what a newcomer has to look through. Whoever gets below lowers them."""
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert max(lines.values()) <= 700, max(lines, key=lines.get)
    importers = Counter(other for module in MODULES for other in arrows(module))
    assert len(MODULES) <= MOST_MODULES
    assert sum(importers.values()) <= MOST_ARROWS
    alone = [module for module in MODULES if importers[module] == 1]
    assert len(alone) <= MOST_ALONE * len(MODULES), alone


def imported(modules: str, libraries: set[str]) -> str:
    """Those of some libraries that a process has imported which imports some modules of ours: as Python prints the list."""
    code = f"import sys, {modules}; print(sorted({libraries} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.stdout.strip() or done.stderr


def test_importing_does_not_import_torch() -> None:
    modules = "seg_demo, seg_demo.core.types, seg_demo.networks, seg_demo.serving.catalog"
    assert imported(modules, {"torch", "transformers", "torchvision", "gradio"}) == "[]"


def test_what_needs_no_transformers_does_not_wait_for_it() -> None:
    """transformers' models take as long to import as torch: a U-Net's request, command or run shall not pay for them."""
    assert imported("seg_demo.serving.predictor, train.setup", {"transformers.modeling_utils", "transformers.image_processing_utils"}) == "[]"
