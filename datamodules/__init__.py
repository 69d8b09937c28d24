"""The benchmarks, a LightningDataModule in a file each, and the T-Maze as a gymnasium environment.

Importing this package is cheap: a benchmark is imported when it is asked for by name.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

__all__ = ["datamodule_by_name", "datamodule_names"]

_HERE = Path(__file__).parent
_CLASS = re.compile(r"^class (\w+)\(.*DataModule", re.MULTILINE)

if "TMaze-v0" not in gymnasium.registry:
    gymnasium.register(id="TMaze-v0", entry_point="datamodules.tmaze_env:TMazeEnv")


def datamodule_names() -> tuple[str, ...]:
    """Names of the benchmarks: the files here with a DataModule class of their own name."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.py") if _class_name(path) is not None))


def datamodule_by_name(name: str) -> type[LightningDataModule]:
    """The class of a benchmark.

    Args:
        name: That of its file, which is that of its class in snake case: ``"copy_first_input"``.

    Raises:
        ValueError: If there is no such benchmark; the message lists those there are.
    """
    if name not in datamodule_names():
        raise ValueError(f"data.name={name!r}: choose one of {', '.join(datamodule_names())}")
    class_name = _class_name(_HERE / f"{name}.py")
    assert class_name is not None
    benchmark: type[LightningDataModule] = getattr(import_module(f"{__name__}.{name}"), class_name)
    return benchmark


def _class_name(path: Path) -> str | None:
    names = _CLASS.findall(path.read_text(encoding="utf-8"))
    return next((name for name in names if _snake(name) == path.stem), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
