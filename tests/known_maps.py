"""Layers whose dynamics are known: what the measures have to find."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Map(nn.Module):
    """A recurrent layer that applies ``function`` to its state and ignores its input."""

    def __init__(self, function, width: int) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function, self.width, self.input_size = function, width, 1

    def forward(self, input: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = input.new_zeros(1, input.shape[1], self.width) if h_0 is None else h_0
        outputs = []
        for _ in range(len(input)):
            state = self.function(state)
            outputs.append(state[0])
        return torch.stack(outputs), state
