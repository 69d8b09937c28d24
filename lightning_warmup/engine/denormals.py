"""Vanishing gradients without denormal numbers.

A gradient that vanishes along a sequence ends in denormal numbers (below 1.2e-38 in single precision), on
which many processors compute ten times more slowly. Setting such entries to zero early costs nothing and
changes nothing that matters. Only the gradient is touched: the processor's own flag holds for a whole thread,
and would change the user's numbers everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLD = 1e-20  # far below the rounding of the gradient of a loss of order one, far above denormal numbers
STEPS = 50  # between two cuts: a gradient would have to fall by 1e18 within them to become denormal


def shrink(gradient: Tensor) -> Tensor:
    """Return the gradient with its entries of magnitude 1e-20 and less set to zero; float64 as it is."""
    return gradient if gradient.dtype == torch.float64 else F.hardshrink(gradient, THRESHOLD)


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, state: Tensor) -> Tensor:
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return shrink(gradients[0])


def cut(state: Any) -> Any:
    """Return the state as it is, a tensor or a tuple of tensors; its gradient passes through ``shrink``."""
    return tuple(map(_Cut.apply, state)) if isinstance(state, tuple) else _Cut.apply(state)


def chunked(
    rnn: Callable[[Tensor, Any], tuple[Tensor, Any]], input: Tensor, h_0: Any = None, time: int = 0
) -> tuple[Tensor, Any]:
    """Run any recurrent layer in chunks of 50 steps, with ``cut`` on the state between them.

    Args:
        rnn: Called as ``output, h_n = rnn(input, h_0)``, for instance a ``torch.nn.LSTM``.
        input: The sequences, (T, B, I), or in whatever layout ``rnn`` takes them.
        h_0: The initial state; None leaves it to ``rnn``.
        time: The axis of the steps, in the input and in the output.

    Returns:
        What ``rnn(input, h_0)`` returns.
    """
    if input.size(time) <= STEPS:
        return rnn(input, h_0)
    outputs = []
    for index, chunk in enumerate(input.split(STEPS, time)):
        output, h_0 = rnn(chunk, cut(h_0) if index else h_0)
        outputs.append(output)
    return torch.cat(outputs, time), h_0
