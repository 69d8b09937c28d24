"""How a warmup moves the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real

from torch import Tensor, nn

from lightning_warmup.networks.layers import Layer
from lightning_warmup.procedures import require
from lightning_warmup.procedures.objectives import Objective
from lightning_warmup.procedures.objectives.published import Published


@dataclass(frozen=True)
class WarmupPlan:
    """How a warmup moves the weights, and what it aims at.

    Attributes:
        objective: What it aims at, with the number of steps.
        lr: Learning rate of its own Adam.
        leaky: Whether a partial warmup also moves the frozen parameters of all layers but the last, through the
            gradient of the layers above, as the authors' code does.
        seed: Seed of all that is drawn.
        holding_inputs: Inputs ``(K, I)`` under which the network has to hold what it has read, if they are known.
    """

    objective: Objective = field(default_factory=Published)
    lr: float = 1e-2
    leaky: bool = False
    seed: int = 0
    holding_inputs: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        require("lr", self.lr, isinstance(self.lr, Real) and 0 < self.lr < math.inf, "a number above 0")
        if self.holding_inputs is not None:
            unused = f"left out, states of a {type(self.objective).__name__} settle under inputs from N(0, 1)"
            require("holding_inputs", self.holding_inputs, self.objective.together, unused)

    def moved(self, layers: Sequence[Layer]) -> list[nn.Parameter]:
        """Return the parameters of a network's layers that the warmup moves."""
        return [p for layer in layers for p in layer.warmed + (layer.frozen if self.leaky else [])]
