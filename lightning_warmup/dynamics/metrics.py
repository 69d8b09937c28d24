"""The measures of :mod:`lightning_warmup.dynamics.functional` as torchmetrics, over all batches and processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from lightning_warmup.dynamics import functional


class _SettledStates(Metric):
    """Keeps settled states: every pair counts, so that sums of batches would not do."""

    full_state_update = False
    states: list[Tensor]

    def __init__(self, epsilon: float = functional.EPSILON, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.add_state("states", [], dist_reduce_fx="cat")

    def update(self, states: Tensor) -> None:
        """Adds settled states, shape ``(N, H)``."""
        self.states.append(states)


class VAA(_SettledStates):
    """:func:`lightning_warmup.dynamics.functional.vaa` of all settled states that were added.

    Example:
        >>> metric = VAA()
        >>> metric.update(torch.tensor([[0.0], [0.0]]))
        >>> metric.update(torch.tensor([[1.0], [1.0]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = True

    def compute(self) -> Tensor:
        """The VAA, a scalar."""
        return functional.vaa(dim_zero_cat(self.states), self.epsilon)


class VAAStar(_SettledStates):
    """:func:`lightning_warmup.dynamics.functional.vaa_star` of all settled states that were added."""

    is_differentiable = True
    higher_is_better = True

    def compute(self) -> Tensor:
        """VAA*, a scalar."""
        return functional.vaa_star(dim_zero_cat(self.states), self.epsilon)


class RestingFraction(Metric):
    """Fraction of settled states that are at rest, see :func:`lightning_warmup.dynamics.functional.at_rest`."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    resting: Tensor
    total: Tensor

    def __init__(self, tolerance: float = functional.REST_TOLERANCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance = tolerance
        self.add_state("resting", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, states: Tensor, next_states: Tensor) -> None:
        """Adds settled states and the states one step later, both of shape ``(N, H)``."""
        self.resting += functional.at_rest(states, next_states, self.tolerance).sum()
        self.total += len(states)

    def compute(self) -> Tensor:
        """The fraction, a scalar in [0, 1]."""
        return self.resting / self.total
