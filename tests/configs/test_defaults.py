"""Defaults live once, in the schema: the library and the benchmarks have the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from configs.run import Config, benchmarks
from datamodules import datamodule_by_name
from lightning_warmup.callbacks.report import Report
from lightning_warmup.modules.sequence import SequenceModule


def defaults(*functions: Any) -> dict[str, Any]:
    """Default values of the parameters of functions, or of classes and their bases."""
    found: dict[str, Any] = {}
    for function in functions:
        for owner in reversed(function.__mro__) if isinstance(function, type) else [function]:
            call = owner.__dict__.get("__init__") if isinstance(owner, type) else owner
            if call is not None and (owner.__module__.split(".")[0] in ("datamodules", "lightning_warmup")):
                parameters = inspect.signature(call).parameters.values()
                found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


@pytest.mark.parametrize("name", benchmarks())
def test_benchmarks(name: str) -> None:
    settings = vars(benchmarks()[name]()) | {"seed": Config().seed}
    del settings["name"]
    library = defaults(datamodule_by_name(name))
    for key, value in settings.items():
        assert key in library, f"{name} takes no {key}"
        assert library[key] == (tuple(value) if isinstance(value, list) else value), key


def test_module_and_report() -> None:
    library = defaults(SequenceModule)
    for key, value in (vars(Config().model) | {"lr": Config().optim.lr}).items():
        assert library[key] == value, key
    assert defaults(Report)["steps"] == Config().monitor.steps
