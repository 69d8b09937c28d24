"""How a warmup moves the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lightning_warmup.procedures import require
from lightning_warmup.procedures.objectives import Objective, make_objective
from lightning_warmup.procedures.objectives.published import Published


@dataclass(frozen=True)
class WarmupPlan:
    """How a warmup moves the weights, and what it aims at; attributes are arguments of ``warmup()``."""

    objective: Objective = field(default_factory=Published)
    steps: int = Published.steps
    extension: int = Published.extension
    lr: float = 1e-2
    leaky: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require("steps", self.steps, self.steps >= 1, "at least 1")
        require("extension", self.extension, self.extension >= 1, "at least 1")
        require("lr", self.lr, 0 < self.lr < math.inf, "a number above 0")


def make_plan(
    objective: str | Objective,
    *,
    steps: int | None,
    extension: int | None,
    lr: float,
    leaky: bool,
    seed: int,
    **settings: Any,
) -> WarmupPlan:
    """Return the plan of a warmup from its arguments; those that are None, and settings, are the objective's own.

    Raises:
        ValueError: If one is out of range, or as :func:`make_objective`.
    """
    aim = make_objective(objective, **settings)
    steps, extension = (
        aim.steps if steps is None else steps,
        aim.extension if extension is None else extension,
    )
    return WarmupPlan(aim, steps, extension, lr, leaky, seed)
