"""Defaults live once, in the schema: the library and the benchmarks have the same."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

from configs.run import Config, benchmarks, settings_of
from datamodules import datamodule_by_name
from lightning_warmup import WarmupStage
from lightning_warmup.callbacks.report import Report
from lightning_warmup.procedures.objectives import objective_by_name
from lightning_warmup.procedures.warmup import warmup


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


def test_warmup() -> None:
    settings = vars(Config().warmup)
    library = defaults(warmup) | {
        key: value for key, value in defaults(WarmupStage).items() if key not in ("network", "sequences")
    }
    del library["seed"], library["lengths"], library["holding_inputs"]
    objectives = {name: objective_by_name(name)() for name in ("published", "rest")}
    for name, objective in objectives.items():
        own = {field.name: getattr(objective, field.name) for field in fields(objective) if field.init}
        own |= {name: getattr(objective, name) for name in ("steps", "extension", "regularize")}
        own.pop("holding_inputs", None)  # a tensor is no setting
        for key, value in own.items():
            assert settings[key] is None
            _, null = settings_of()[f"warmup.{key}"].sentence.split("; null = ")
            assert null.rstrip(".").split(", rest ")[-1 if name == "rest" else 0] == f"{value}", key
        library |= dict.fromkeys(own)
    assert library == {key: value for key, value in settings.items() if key != "enabled"}


def test_report() -> None:
    assert defaults(Report)["steps"] == Config().monitor.steps
