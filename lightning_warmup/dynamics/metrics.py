"""The measures of :mod:`lightning_warmup.dynamics.functional` as torchmetrics, over all batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.plot import plot_single_or_multi_val

from lightning_warmup.dynamics import functional


class _StateMetric(Metric):
    """A metric of the states of a network: its properties in torchmetrics, and its plot."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0

    def plot(self, val: torch.Tensor | Sequence[torch.Tensor] | None = None, ax: Any = None) -> Any:
        """Plot values, by default that of ``compute``, into ``ax`` or new axes; return figure and axes."""
        return plot_single_or_multi_val(
            self.compute() if val is None else val,
            ax=ax,
            higher_is_better=self.higher_is_better,
            lower_bound=self.plot_lower_bound,
            upper_bound=self.plot_upper_bound,
            name=type(self).__name__,
        )


class VAA(_StateMetric):
    """Compute the VAA, the number of distinct places divided by N (arXiv 2106.01001, section 3).

    See :func:`lightning_warmup.dynamics.functional.vaa` for the formula. ``update`` takes settled ``states``,
    ``(N, H)``; ``compute`` returns a scalar in [1/N, 1], with N over all updates.

    Args:
        epsilon: Distance below which two states are in the same place.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Examples:
        >>> metric = VAA()
        >>> metric.update(torch.tensor([[0.0], [0.0]]))
        >>> metric.update(torch.tensor([[1.0], [1.0]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    states: list[torch.Tensor]
    plot_upper_bound = 1.0

    def __init__(self, epsilon: float = functional.EPSILON, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.add_state("states", [], dist_reduce_fx="cat")  # every pair counts, so batches can't be summed up

    def update(self, states: torch.Tensor) -> None:
        self.states.append(states.detach())

    def compute(self) -> torch.Tensor:
        return functional.vaa(dim_zero_cat(self.states), self.epsilon)


class VAAStar(VAA):
    """Compute VAA*, the differentiable surrogate of the VAA (arXiv 2106.01001, section 4).

    See :func:`lightning_warmup.dynamics.functional.vaa_star` for the formula, and :class:`VAA` for input, arguments
    and range.

    Examples:
        >>> metric = VAAStar()
        >>> metric(torch.tensor([[0.0], [0.0], [5.0], [5.0]]))
        tensor(0.4999)
    """

    is_differentiable = True

    def update(self, states: torch.Tensor) -> None:
        # torchmetrics keeps gradients only in ``forward``, for the value of the batch.
        self.states.append(states if torch.is_grad_enabled() else states.detach())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        value = super().forward(*args, **kwargs)
        self.states = [states.detach() for states in self.states]
        return value

    def compute(self) -> torch.Tensor:
        return functional.vaa_star(dim_zero_cat(self.states), self.epsilon)


class RestingFraction(_StateMetric):
    """Compute the fraction of settled states that one more step does not move.

    ``update`` takes settled ``states`` and ``next_states``, the states one step later, both ``(N, H)``; ``compute``
    returns a scalar in [0, 1].

    Args:
        tolerance: Largest change of a resting unit z, divided by 1 + |z|.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Examples:
        >>> metric = RestingFraction()
        >>> metric(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.1]]))
        tensor(0.5000)
    """

    moves: list[torch.Tensor]
    plot_upper_bound = 1.0

    def __init__(self, tolerance: float = functional.REST_TOLERANCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance = tolerance
        # Moves, not counts: in a MetricCollection, metrics with two tolerances share this state.
        self.add_state("moves", [], dist_reduce_fx="cat")

    def update(self, states: torch.Tensor, next_states: torch.Tensor) -> None:
        self.moves.append(((next_states - states).abs() / (1 + states.abs())).amax(1).detach())

    def compute(self) -> torch.Tensor:
        return (dim_zero_cat(self.moves) <= self.tolerance).float().mean()


class MemorySpan(_StateMetric):
    """Compute how many steps two histories stay apart under the same further inputs, as a median over pairs.

    ``update`` takes ``states`` and ``other_states``, both ``(K + 1, N, H)``: the states of N pairs before and after
    each of K common inputs. ``compute`` returns the number of steps after which the share ``left`` of the first
    distance is left, or infinity if that takes more than K.

    Args:
        left: The share, by default a thousandth.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Examples:
        >>> metric = MemorySpan(left=0.25)
        >>> fading = 0.5 ** torch.arange(6.0).view(6, 1, 1)
        >>> metric(fading, 0 * fading)
        tensor(2., dtype=torch.float64)
    """

    shares: list[torch.Tensor]

    def __init__(self, left: float = functional.LEFT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.left = left
        # Shares, not spans: in a MetricCollection, metrics with two settings share this state.
        self.add_state("shares", [], dist_reduce_fx="cat")

    def update(self, states: torch.Tensor, other_states: torch.Tensor) -> None:
        self.shares.append(functional.shares_apart(states, other_states).detach().t())

    def compute(self) -> torch.Tensor:
        shares = dim_zero_cat(self.shares).t()
        return functional.memory_span(shares, torch.arange(len(shares)), self.left).median()
