"""The benchmarks, a LightningDataModule in a file each, and the T-Maze as a gymnasium environment.

Importing this package is cheap: a benchmark is imported when it is asked for by name.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium

__all__ = ["datamodule_by_name"]

if "TMaze-v0" not in gymnasium.registry:
    gymnasium.register(id="TMaze-v0", entry_point="datamodules.tmaze_env:TMazeEnv")


def datamodule_by_name(name: str) -> type[Any]:
    """The LightningDataModule of a benchmark.

    Args:
        name: That of its file, which is that of its class in snake case: ``"copy_first_input"``.

    Raises:
        ValueError: If there is no such file, or no such class in it.
    """
    if name.isidentifier() and Path(__file__).with_name(f"{name}.py").is_file():
        for key, benchmark in vars(import_module(f"{__name__}.{name}")).items():
            if re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower() == name and isinstance(benchmark, type):
                return benchmark
    raise ValueError(f"data.name={name!r}: datamodules/ has no file {name}.py with a class of that name")
