"""The measures of :mod:`lightning_warmup.dynamics.functional` as torchmetrics, over all batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.plot import plot_single_or_multi_val

from lightning_warmup.dynamics import functional


class VAA(Metric):
    """Compute the VAA, the share of distinct equilibria (arXiv 2106.01001, section 3).

    The formula is that of :func:`lightning_warmup.dynamics.functional.vaa`.

    As input to ``update`` the metric accepts settled ``states``, ``(N, H)``. As output of ``compute`` it returns a
    scalar in [1/N, 1], N over all updates.

    Args:
        epsilon: Distance below which two states are the same equilibrium.
        kwargs: Settings of every :class:`torchmetrics.Metric`.

    Examples:
        >>> metric = VAA()
        >>> metric.update(torch.tensor([[0.0], [0.0]]))
        >>> metric.update(torch.tensor([[1.0], [1.0]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    states: list[torch.Tensor]
    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(self, epsilon: float = functional.EPSILON, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.add_state("states", [], dist_reduce_fx="cat")  # every pair counts: batches cannot be summed up

    def update(self, states: torch.Tensor) -> None:
        self.states.append(states.detach())

    def compute(self) -> torch.Tensor:
        return functional.vaa(dim_zero_cat(self.states), self.epsilon)

    def plot(self, val: torch.Tensor | Sequence[torch.Tensor] | None = None, ax: Any = None) -> Any:
        """Plot values, by default that of ``compute``, into ``ax`` or new axes; return figure and axes."""
        return _plot(self, val, ax)


class VAAStar(VAA):
    """Compute VAA*, the differentiable surrogate of the VAA (arXiv 2106.01001, section 4).

    The formula is that of :func:`lightning_warmup.dynamics.functional.vaa_star`; input, arguments and the range of
    the output are those of :class:`VAA`.

    Examples:
        >>> metric = VAAStar()
        >>> metric(torch.tensor([[0.0], [0.0], [5.0], [5.0]]))
        tensor(0.4999)
    """

    is_differentiable = True

    def update(self, states: torch.Tensor) -> None:
        # torchmetrics takes gradients in ``forward`` alone, for the value of the batch
        self.states.append(states if torch.is_grad_enabled() else states.detach())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        value = super().forward(*args, **kwargs)
        self.states = [states.detach() for states in self.states]
        return value

    def compute(self) -> torch.Tensor:
        return functional.vaa_star(dim_zero_cat(self.states), self.epsilon)


class RestingFraction(Metric):
    """Compute the fraction of settled states that one more step does not move.

    As input to ``update`` the metric accepts settled ``states`` and ``next_states``, the same one step later, both
    ``(N, H)``. As output of ``compute`` it returns a scalar in [0, 1].

    Args:
        tolerance: Largest move of a unit at rest, relative to one more than its size.
        kwargs: Settings of every :class:`torchmetrics.Metric`.

    Examples:
        >>> metric = RestingFraction()
        >>> metric(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.1]]))
        tensor(0.5000)
    """

    moves: list[torch.Tensor]
    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(self, tolerance: float = functional.REST_TOLERANCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance = tolerance
        # Moves, not counts of rest: a collection of two tolerances shares equal states.
        self.add_state("moves", [], dist_reduce_fx="cat")

    def update(self, states: torch.Tensor, next_states: torch.Tensor) -> None:
        self.moves.append(((next_states - states).abs() / (1 + states.abs())).amax(1).detach())

    def compute(self) -> torch.Tensor:
        return (dim_zero_cat(self.moves) <= self.tolerance).float().mean()

    def plot(self, val: torch.Tensor | Sequence[torch.Tensor] | None = None, ax: Any = None) -> Any:
        """Plot values, by default that of ``compute``, into ``ax`` or new axes; return figure and axes."""
        return _plot(self, val, ax)


class MemorySpan(Metric):
    """Compute how many steps two histories remain apart under the same further inputs, the median over pairs.

    As input to ``update`` the metric accepts the states of N pairs before and after each of K common inputs,
    ``states`` and ``other_states``, both ``(K + 1, N, H)``. As output of ``compute`` it returns a scalar: the steps
    until their distance has fallen to a share of the first one, infinity if that takes more than K.

    Args:
        left: The share, a thousandth.
        kwargs: Settings of every :class:`torchmetrics.Metric`.

    Examples:
        >>> metric = MemorySpan(left=0.25)
        >>> fading = 0.5 ** torch.arange(6.0).view(6, 1, 1)
        >>> metric(fading, 0 * fading)
        tensor(2., dtype=torch.float64)
    """

    shares: list[torch.Tensor]
    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0

    def __init__(self, left: float = functional.LEFT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.left = left
        # Shares, not spans: a collection of two settings shares equal states.
        self.add_state("shares", [], dist_reduce_fx="cat")

    def update(self, states: torch.Tensor, other_states: torch.Tensor) -> None:
        self.shares.append(functional.shares_apart(states, other_states).detach().t())

    def compute(self) -> torch.Tensor:
        shares = dim_zero_cat(self.shares).t()
        return functional.memory_span(shares, torch.arange(len(shares)), self.left).median()

    def plot(self, val: torch.Tensor | Sequence[torch.Tensor] | None = None, ax: Any = None) -> Any:
        """Plot values, by default that of ``compute``, into ``ax`` or new axes; return figure and axes."""
        return _plot(self, val, ax)


def _plot(metric: Metric, val: torch.Tensor | Sequence[torch.Tensor] | None, ax: Any) -> Any:
    return plot_single_or_multi_val(
        metric.compute() if val is None else val,
        ax=ax,
        higher_is_better=metric.higher_is_better,
        lower_bound=metric.plot_lower_bound,
        upper_bound=metric.plot_upper_bound,
        name=type(metric).__name__,
    )
