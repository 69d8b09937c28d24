"""Who may import whom: one table, complete for every pair of rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ARROWS = {
    "settings": "",  # what a group of settings is, for the command line and for the library
    "registry": "",  # finds cells, initialisations, objectives and benchmarks by the names of their files
    "configs": "settings registry procedures",  # the objectives, whose settings it shows; they need no torch
    "datamodules": "configs proofs registry",  # the automaton of a task
    "engine": "",
    "cells": "engine registry",
    "initialisations": "cells engine registry",
    "networks": "cells initialisations engine",
    "dynamics": "networks engine",
    "proofs": "networks cells engine",  # a proof can be checked from weights and boxes alone
    "procedures": "dynamics networks engine distributed settings registry",
    "modules": "networks settings",
    "callbacks": "proofs procedures dynamics networks distributed",
    "reporting": "dynamics runtime",
    "runtime": "",
    "distributed": "",
    "_compat": "",
    "lightning_warmup": "",  # its public names are imported when they are first asked for
    "studies": "configs networks proofs reporting runtime lightning_warmup",
    "docs": "reporting studies lightning_warmup",  # the site's pictures, drawn as those of the studies
    "benchmarks": "configs engine cells networks dynamics procedures reporting runtime lightning_warmup train",
    "train": "configs datamodules initialisations networks dynamics procedures modules callbacks reporting runtime",
}
"""What each room may import beside itself and ``_compat``."""

# Third-party packages that one place alone knows.
KNOWN_TO = {
    "omegaconf": {"configs"},
    "pydantic": {"configs", "settings", "procedures"},
    "wandb": {"runtime"},
    "gymnasium": {"datamodules"},
    "matplotlib": {"reporting", "studies", "benchmarks", "docs"},
    "scipy": {"studies"},
    "hydra": set(),
}
NO_TORCH = {"torch", "lightning", "numpy", "wandb", "torchmetrics", "matplotlib"}


def imports(path: Path, at_once: bool = False) -> set[str]:
    """Names of all modules that a file imports, anywhere in it, or at once when it is imported itself."""
    names = set()
    tree = ast.parse(path.read_text())
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a file or a module by the parts of its name."""
    inside = parts[0] == "lightning_warmup" and len(parts) > 1 and parts[1] != "__init__"
    return parts[1] if inside else parts[0]


def sources() -> list[tuple[str, Path]]:
    paths = [
        path for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).parts[0].startswith((".", "tests"))
    ]
    rooms = [(room_of(path.relative_to(ROOT).with_suffix("").parts), path) for path in paths]
    # A fork may have files of its own beside train.py.
    return [(room, path) for room, path in rooms if room in ARROWS or path.parent != ROOT]


def rooms_imported(path: Path) -> set[str]:
    found = {room_of(tuple(name.split("."))) for name in imports(path)}
    return found & set(ARROWS)


def test_every_file_is_in_a_room_of_the_table() -> None:
    assert {room for room, _ in sources()} | {"_compat"} == set(ARROWS)


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    allowed = {room, "_compat", *ARROWS[room].split()}
    for owner, path in sources():
        if owner == room:
            assert rooms_imported(path) <= allowed, path


def test_the_arrows_run_one_way() -> None:
    left = {room: set(arrows.split()) for room, arrows in ARROWS.items()}
    while left:
        free = [room for room, arrows in left.items() if not arrows & set(left)]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            del left[room]


def test_the_configuration_needs_no_torch_before_the_training() -> None:
    for room, path in sources():
        if room == "configs":
            assert not {name.split(".")[0] for name in imports(path, at_once=True)} & NO_TORCH, path


@pytest.mark.parametrize("package", KNOWN_TO)
def test_a_package_is_known_to_its_rooms_alone(package: str) -> None:
    for room, path in sources():
        if room not in KNOWN_TO[package]:
            assert package not in {name.split(".")[0] for name in imports(path)}, path


def test_no_package_bears_the_name_of_a_public_function() -> None:
    import lightning_warmup

    for name in lightning_warmup.__all__:
        assert not (ROOT / "lightning_warmup" / name).exists(), name
        assert not (ROOT / "lightning_warmup" / f"{name}.py").exists(), name


PUBLIC_BY_DOCUMENTATION = {"_fields", "_replace", "_asdict", "_make", "_exit", "_field_defaults"}
"""Underscored names of the standard library that are no secret: those of NamedTuple, and ``os._exit``."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC_BY_DOCUMENTATION


def is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_names_defined(tree: ast.AST) -> set[str]:
    """Private attributes that a file gives to its own classes, and its functions and classes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def private_names_used(tree: ast.AST, defined_here: set[str], defined: set[str]) -> set[str]:
    """Private names that belong to another file or library: imported, of an object, or inherited by ``self``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if any(map(is_private, alias.name.split("."))))
        elif isinstance(node, ast.ImportFrom):
            ours = room_of(tuple((node.module or "").split("."))) in ARROWS
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found.update(part for part in parts if is_private(part) and not ours)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if node.attr not in (defined if is_own(node.value) else defined_here):
                found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            name = getattr(node.args[1], "value", None)
            if (
                node.func.id in ("getattr", "setattr", "hasattr")
                and isinstance(name, str)
                and is_private(name)
            ):
                found.update({name} - defined)
    return found


def test_private_names_of_libraries_are_used_in_compat_alone() -> None:
    trees = {path: ast.parse(path.read_text()) for room, path in sources() if room != "_compat"}
    defined = {path: private_names_defined(tree) for path, tree in trees.items()}
    everywhere = set().union(*defined.values())
    for path, tree in trees.items():
        found = private_names_used(tree, defined[path], everywhere)
        assert not found, f"{path}: {sorted(found)}: one function of _compat.py each, with a test"


@pytest.mark.parametrize(
    "code",
    [
        "trainer._signal_connector", "torch._C._are_functorch_transforms_active()", "from torch._prims import x",
        "import torch._dynamo", "from torch.nn import _reduction", "getattr(rnn, '_all_weights')",
        "self._experiment", "rnn._flat_weights = []",
    ],
)  # fmt: skip
def test_a_private_name_is_found(code: str) -> None:
    assert private_names_used(ast.parse(code), set(), {"_own"})


def test_own_private_names_are_allowed() -> None:
    code = "class A:\n _a: int = 1\n def f(self, x):\n  self._b = 1\n  return x._b, self._a, x._replace()"
    names = private_names_defined(ast.parse(code))
    assert names == {"_a", "_b"}
    assert not private_names_used(ast.parse(code), names, names)


def test_every_function_of_compat_has_a_test() -> None:
    """Which fails where a new version of the library no longer has the name."""
    compat, tests = ROOT / "lightning_warmup" / "_compat.py", ROOT / "tests" / "test_compat.py"
    wanted = {node.name for node in ast.walk(_tree(compat)) if isinstance(node, ast.FunctionDef)}
    used = {node.attr for node in ast.walk(_tree(tests)) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(_tree(tests)) if isinstance(node, ast.Name)}
    assert wanted <= used, f"tests/test_compat.py has none for {sorted(wanted - used)}"


def _tree(path: Path) -> ast.AST:
    return ast.parse(path.read_text() if path.exists() else "")
