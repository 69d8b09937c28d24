"""What a warmup can aim at: one file, one objective, with its name as ``warmup.objective``; without torch."""

from __future__ import annotations

import sys
from pathlib import Path

from lightning_warmup.procedures.objectives._base import Objective, SettledLayer
from lightning_warmup.registry import part_class, part_file, part_names

__all__ = ["Objective", "SettledLayer", "make_objective", "objective_by_name", "objective_names"]


def objective_names() -> list[str]:
    """Return the names of all objectives: those of the files in this folder."""
    return part_names(Path(__file__).parent)


def objective_by_name(name: str) -> type[Objective]:
    """Return the class of an objective.

    Raises:
        ValueError: If there is no such file, or not exactly one public subclass of :class:`Objective` in it.
    """
    file = part_file("objective", name, sys.modules[__name__])
    return part_class(file, f"objective={name!r}", Objective)


def make_objective(objective: str | Objective, steps: int | None = None) -> Objective:
    """Return an objective, by its name or as it is given; ``steps`` take the place of its own unless None.

    Raises:
        ValueError: If there is no such objective, or steps are below 1.
    """
    if isinstance(objective, str):
        objective = objective_by_name(objective)()
    return objective if steps is None else type(objective)(**dict(objective) | {"steps": steps})
