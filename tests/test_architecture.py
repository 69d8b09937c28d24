"""The arrows of import run one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("configs", "datamodules", "lightning_warmup")


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


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def rooms_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself(room: str) -> None:
    assert files(room)
    for path in files(room):
        assert rooms_of(path) <= {room}, path


def test_the_configuration_needs_no_torch() -> None:
    heavy = {"torch", "lightning", "numpy", "wandb", "torchmetrics"}
    for path in files("configs"):
        assert not {name.split(".")[0] for name in imports(path)} & heavy, path


def test_only_the_configuration_knows_omegaconf() -> None:
    for room in ("datamodules", "lightning_warmup"):
        for path in files(room):
            assert not {name.split(".")[0] for name in imports(path)} & {"omegaconf", "hydra"}, path


def test_only_tracking_knows_weights_and_biases() -> None:
    for path in [*files("lightning_warmup"), *files("datamodules"), ROOT / "train.py"]:
        if path.name != "loggers.py":
            assert "wandb" not in {name.split(".")[0] for name in imports(path)}, path
