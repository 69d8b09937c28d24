"""The loss of the best constant prediction, which a network reaches without learning anything."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def best_constant_loss(loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor, output_size: int) -> float:
    """Return the lowest loss of one constant output for all targets, found by L-BFGS.

    Args:
        loss: A differentiable function from outputs ``(R, O)`` and targets to their mean loss.
        targets: ``(R, O)``, or ``(R,)`` class numbers.
        output_size: O.
    """
    if targets.is_floating_point():
        starts = [targets.mean(0), targets.median(0).values]
    else:
        starts = [torch.bincount(targets, minlength=output_size).float().clamp(min=1e-6).log()]
    return min(_least(loss, targets, start) for start in starts)


def _least(loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor, start: Tensor) -> float:
    constant = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=300, line_search_fn="strong_wolfe")
    seen: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(constant.expand(len(targets), -1), targets)
        value.backward()
        seen.append(value.item())
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return min(seen)
