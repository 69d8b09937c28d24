"""What a warmup can aim at: one file, one objective, with its name as ``warmup.objective``; without torch."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

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


def make_objective(objective: str | Objective, steps: int | None = None) -> Objective:
    """Return an objective, by its name or as it is given; ``steps`` take the place of its own unless None.

    Raises:
        ValueError: If there is no such objective, or steps are below 1.
    """
    if isinstance(objective, str):
        objective = objective_by_name(objective)()
    return objective if steps is None else type(objective)(**dict(objective) | {"steps": steps})
