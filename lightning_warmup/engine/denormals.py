"""Vanishing gradients without denormal numbers.

A gradient that vanishes along a sequence ends in denormal numbers (below 1.2e-38 in single precision), and many
processors are ten times slower on them. Setting such entries to zero early costs nothing and changes nothing that
matters. The processor's own flag would change the user's numbers everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLD = (
    1e-20  # far below the rounding error of the gradient of a loss of order one, far above denormal numbers
)
STEPS = 50  # between two cuts: to become denormal, a gradient would have to shrink by 1e18 within them


def shrink(gradient: Tensor) -> Tensor:
    """Return the gradient with entries of magnitude up to 1e-20 set to zero; float64 stays as it is."""
    return gradient if gradient.dtype == torch.float64 else F.hardshrink(gradient, THRESHOLD)


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, state: Tensor) -> Tensor:
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return shrink(gradients[0])


def cut(state: Any) -> Any:
    """Return the state, a tensor or a tuple of tensors, unchanged; its gradient passes through ``shrink``."""
    return tuple(map(_Cut.apply, state)) if isinstance(state, tuple) else _Cut.apply(state)


def chunked(
    rnn: Callable[[Tensor, Any], tuple[Tensor, Any]], input: Tensor, h_0: Any = None, time: int = 0
) -> tuple[Tensor, Any]:
    """Return ``rnn(input, h_0)``, run in chunks of 50 steps with ``cut`` on the state between them.

    The layer is called like torch's layers; ``time`` is the time axis of its input and output.
    """
    outputs = []
    for index, chunk in enumerate(input.split(STEPS, time)):
        output, h_0 = rnn(chunk, cut(h_0) if index else h_0)
        outputs.append(output)
    return torch.cat(outputs, time) if len(outputs) > 1 else outputs[0], h_0
