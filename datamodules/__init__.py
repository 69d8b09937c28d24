"""The benchmarks, one LightningDataModule a file, and the T-Maze as the gymnasium environment ``TMaze-v0``."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium

from datamodules.protocol import Benchmark, ControlBenchmark, missing

__all__ = ["Benchmark", "ControlBenchmark", "datamodule_by_name", "make_benchmark"]

if "TMaze-v0" not in gymnasium.registry:
    gymnasium.register(id="TMaze-v0", entry_point="datamodules.tmaze_env:TMazeEnv")


def datamodule_by_name(name: str) -> type[Any]:
    """Return the class of a benchmark: the only public LightningDataModule that its file defines.

    Raises:
        ValueError: If there is no such file, or it defines none or several. Abstract classes do not count.
    """
    if not name.isidentifier() or not Path(__file__).with_name(f"{name}.py").is_file():
        raise ValueError(f"data.name={name!r}: datamodules/ has no file {name}.py")
    from lightning.pytorch import LightningDataModule  # a second of imports, for those who need it

    file = import_module(f"{__name__}.{name}")
    found = {
        key: value
        for key, value in vars(file).items()
        if inspect.isclass(value) and issubclass(value, LightningDataModule)
        if value.__module__ == file.__name__ and not inspect.isabstract(value) and not key.startswith("_")
    }
    if len(found) != 1:
        raise ValueError(
            f"data.name={name!r}: datamodules/{name}.py must define one public LightningDataModule without "
            f"abstract methods, it defines {', '.join(found) or 'none'}"
        )
    return next(iter(found.values()))


def make_benchmark(name: str, **settings: Any) -> Any:
    """Return the LightningDataModule of a benchmark, made from its settings, which is a :class:`Benchmark`.

    Raises:
        ValueError: If there is no such benchmark, it refuses a setting, or its class lacks something.
    """
    datamodule = datamodule_by_name(name)(**settings)
    if lacks := missing(datamodule):
        raise ValueError(f"data.name={name!r}: {type(datamodule).__name__} must have {', '.join(lacks)}")
    return datamodule
