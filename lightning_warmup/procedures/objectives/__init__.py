"""What a warmup can aim at: one file, one objective, with the file's name as ``warmup.objective``."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_warmup.procedures import require
from lightning_warmup.procedures.objectives._base import Objective, SettledLayer

__all__ = ["Objective", "SettledLayer", "make_objective", "objective_by_name", "objective_names"]


def objective_names() -> list[str]:
    """Return the names of all objectives: those of the files in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def objective_by_name(name: str) -> type[Objective]:
    """Return the class of an objective.

    Raises:
        ValueError: If there is no such file, or not exactly one public subclass of :class:`Objective` in it.
    """
    if name not in objective_names():
        raise ValueError(f"objective={name!r}: choose one of {', '.join(objective_names())}")
    module = import_module(f"{__name__}.{name}")
    own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    found = [c for c in own if isinstance(c, type) and issubclass(c, Objective) and c.__name__[0] != "_"]
    if len(found) != 1:
        wanted = f"must define one public subclass of Objective, not {len(found)}"
        raise ValueError(f"objective={name!r}: {module.__file__} {wanted}")
    return found[0]


def make_objective(objective: str | Objective, **settings: Any) -> Objective:
    """Return an objective by its name, or one that is made already.

    Args:
        objective: The name or the objective.
        settings: Its settings; those that are None are its own.

    Raises:
        ValueError: If there is no such objective, it has no such setting, or it is made already.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if not isinstance(objective, str):
        for name, value in given.items():
            require(name, value, False, f"given to the objective, {type(objective).__name__}({name}=...)")
        return objective
    kind = objective_by_name(objective)
    own = [field.name for field in fields(kind) if field.init]
    for name, value in given.items():
        allowed = f"left out, the settings of objective={objective} are {', '.join(own)}"
        require(name, value, name in own, allowed)
    return kind(**given)
