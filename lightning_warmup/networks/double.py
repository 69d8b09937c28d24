"""The double layer, of which a partial warmup moves one half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_warmup.cells import cell_by_name
from lightning_warmup.engine.state import State, map_state

Call: TypeAlias = Callable[[nn.Module, Tensor, "State | None"], Any]
"""How a half is run: ``(half, input, state) -> (output, state)``."""


def as_called(half: nn.Module, input: Tensor, state: State | None) -> Any:
    """Run a half by its own call."""
    return half(input, state)


class DoubleLayer(nn.Module):
    """Two independent recurrent cells of half the size on the same input, their outputs concatenated.

    A partial warmup moves the first half only, which then keeps information for long; the second stays precise.

    Args:
        cell: Name of the cell, see :func:`lightning_warmup.cells.cell_names`.
        input_size: Features I of the input.
        hidden_size: Width H of both halves together; even.
        batch_first: Whether sequences are ``(B, T, I)`` instead of ``(T, B, I)``.

    Shapes: as ``torch.nn.GRU`` of one layer: input ``(T, B, I)``, output ``(T, B, H)``, states ``(1, B, H)``.

    Raises:
        ValueError: If ``hidden_size`` is odd.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, batch_first: bool = False) -> None:
        super().__init__()
        if hidden_size % 2:
            raise ValueError(
                f"hidden_size={hidden_size}: must be even for a double layer, which has equal halves"
            )
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        make = cell_by_name(cell)
        self.first = make(input_size, hidden_size // 2, batch_first=batch_first)
        self.second = make(input_size, hidden_size // 2, batch_first=batch_first)

    def forward(self, input: Tensor, h_0: State | None = None) -> tuple[Tensor, State]:
        return self.run(input, h_0)

    def run(self, input: Tensor, h_0: State | None, call: Call = as_called) -> tuple[Tensor, State]:
        """Return what the layer's call does, with both halves run by ``call``."""
        return run_halves((self.first, self.second), (input, input), h_0, call)


def half_of(state: State, index: int) -> State:
    """Return the first or the second half of a state: ``(1, B, H)`` to ``(1, B, H / 2)``."""
    return map_state(lambda tensor: tensor.chunk(2, dim=-1)[index].contiguous(), state)


def run_halves(
    halves: tuple[nn.Module, nn.Module], inputs: tuple[Tensor, Tensor], h_0: State | None, call: Call
) -> tuple[Tensor, State]:
    """Run two halves, each on its input and its half of the state; return outputs and states side by side."""
    states = (None, None) if h_0 is None else (half_of(h_0, 0), half_of(h_0, 1))
    (first, h_first), (second, h_second) = map(call, halves, inputs, states)
    h_n = map_state(lambda one, other: torch.cat([one, other], dim=-1), h_first, h_second)
    return torch.cat([first, second], dim=-1), h_n
