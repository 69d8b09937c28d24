"""Runs a cell of one step over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Unrolled(nn.Module):
    """A cell of one step, ``state = cell(input, state)``, run over time with torch's call.

    ``nn.LSTMCell``, ``GRUCell`` and ``RNNCell`` need no wrapping: every function that takes a network does it.

    Args:
        cell: Takes an input ``(B, I)`` and a state, None at the start. Returns the next state, ``(B, H)`` or a
            tuple of such tensors, of which the first is the output.
        batch_first: Whether sequences are ``(B, T, I)`` instead of ``(T, B, I)``.

    Shapes: input ``(T, B, I)``, output ``(T, B, H)``, states as the cell's.

    Examples:
        >>> output, state = Unrolled(nn.LSTMCell(1, 8))(torch.randn(5, 2, 1))
        >>> output.shape, len(state)
        (torch.Size([5, 2, 8]), 2)
    """

    def __init__(self, cell: nn.Module, batch_first: bool = False) -> None:
        super().__init__()
        self.cell, self.batch_first = cell, batch_first
        self.input_size = getattr(cell, "input_size", None)

    def forward(self, input: Tensor, h_0: Any = None) -> tuple[Tensor, Any]:
        time, state, outputs = int(self.batch_first), h_0, []
        for step in input.unbind(time):
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, time), state
