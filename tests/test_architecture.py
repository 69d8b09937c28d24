"""Who may import whom: one table, complete for every pair of rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ARROWS = {
    "configs": "",
    "datamodules": "",
    "engine": "",
    "cells": "engine",
    "initialisations": "cells engine",
    "networks": "cells initialisations engine",
    "dynamics": "networks engine",
    "procedures": "dynamics networks engine distributed",
    "modules": "networks",
    "callbacks": "procedures dynamics networks distributed",
    "reporting": "dynamics",
    "runtime": "",
    "distributed": "",
    "_compat": "",
    "lightning_warmup": "cells networks dynamics procedures callbacks",  # the public names
    "studies": "configs",
    "benchmarks": "configs engine cells networks dynamics procedures lightning_warmup train",
    "train": "configs datamodules initialisations dynamics procedures modules callbacks reporting runtime",
}
"""What each room may import beside itself and ``_compat``."""

# Third-party packages that one place alone knows.
KNOWN_TO = {
    "omegaconf": {"configs"},
    "pydantic": {"configs"},
    "wandb": {"runtime"},
    "gymnasium": {"datamodules"},
    "matplotlib": {"reporting", "studies", "benchmarks"},
    "hydra": set(),
}
NO_TORCH = {"torch", "lightning", "numpy", "wandb", "torchmetrics", "matplotlib"}


def imports(path: Path) -> set[str]:
    """Names of all modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
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
    return [(room_of(path.relative_to(ROOT).with_suffix("").parts), path) for path in paths]


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


def test_the_configuration_needs_no_torch() -> None:
    for room, path in sources():
        if room == "configs":
            assert not {name.split(".")[0] for name in imports(path)} & NO_TORCH, path


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
