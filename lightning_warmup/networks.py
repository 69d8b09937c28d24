"""Stacks of recurrent layers with a linear read-out, and the double layer (arXiv 2106.01001, section 5)."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from lightning_warmup.cells import cell_by_name
from lightning_warmup.initialisations import initialise

State: TypeAlias = Tensor | tuple[Tensor, ...]


class DoubleLayer(nn.Module):
    """Two independent recurrent cells of half the size on the same input, their outputs concatenated.

    Only the first half is warmed up: it keeps information for long, the second half keeps its precision.

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
                f"hidden_size={hidden_size}: a double layer has two equal halves, so it must be even"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.batch_first = batch_first
        make = cell_by_name(cell)
        self.first = make(input_size, hidden_size // 2, batch_first=batch_first)
        self.second = make(input_size, hidden_size // 2, batch_first=batch_first)

    def forward(self, input: Tensor, h_0: State | None = None) -> tuple[Tensor, State]:
        """Runs both halves; see the class for shapes."""
        half = self.hidden_size // 2
        first, h_first = self.first(input, _slice(h_0, slice(None, half)))
        second, h_second = self.second(input, _slice(h_0, slice(half, None)))
        return torch.cat([first, second], dim=-1), _cat([h_first, h_second], dim=-1)

    def first_state(self, state: State) -> State:
        """The first half's part of a state: ``(1, B, H)`` to ``(1, B, H / 2)``."""
        part = _slice(state, slice(None, self.hidden_size // 2))
        assert part is not None
        return part


class RecurrentNetwork(nn.Module):
    """A stack of recurrent layers with a linear read-out.

    Args:
        input_size: Features I of the input.
        hidden_size: Width H of every layer.
        output_size: Outputs O of the read-out.
        num_layers: Layers L of the stack.
        cell: Name of the cell, see :func:`lightning_warmup.cells.cell_names`.
        double: Whether every layer is a :class:`DoubleLayer`.
        init: Name of the initialisation, see :mod:`lightning_warmup.initialisations`.
        t_max: Longest time scale of the chrono initialisation, in steps.
        batch_first: Whether sequences are ``(B, T, I)`` instead of ``(T, B, I)``.

    Shapes: input ``(T, B, I)``, output ``(T, B, O)``, states ``(L, B, H)``, a tuple of them for an LSTM.

    Raises:
        ValueError: If a name is unknown, a size is not positive, or ``hidden_size`` is odd and ``double`` is set.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int = 1,
        cell: str = "gru",
        double: bool = False,
        init: str = "default",
        t_max: int = 600,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers}: a network has at least 1 layer")
        self.batch_first = batch_first
        make = cell_by_name(cell)
        self.layers = nn.ModuleList(
            DoubleLayer(cell, size, hidden_size) if double else make(size, hidden_size)
            for size in [input_size] + [hidden_size] * (num_layers - 1)
        )
        self.readout = nn.Linear(hidden_size, output_size)
        for layer in self.layers:
            for part in (layer.first, layer.second) if isinstance(layer, DoubleLayer) else (layer,):
                initialise(part, init, t_max)

    def forward(
        self, input: Tensor, h_0: State | None = None, steps: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Runs the stack.

        Args:
            input: Sequences ``(T, B, I)``, or ``(B, T, I)`` with ``batch_first``.
            h_0: Initial states ``(L, B, H)``; None is zero.
            steps: Time steps ``(K,)`` to read out; None is all of them.

        Returns:
            Outputs at these steps, ``(K, B, O)`` or ``(B, K, O)``, and the final states ``(L, B, H)``.
        """
        output = input.transpose(0, 1) if self.batch_first else input
        h_n = []
        for index, layer in enumerate(self.layers):
            output, state = layer(output, None if h_0 is None else _index(h_0, index))
            h_n.append(state)
        output = self.readout(output if steps is None else output[steps])
        return output.transpose(0, 1) if self.batch_first else output, _cat(h_n, dim=0)


def _slice(state: State | None, features: slice) -> State | None:
    if isinstance(state, tuple):
        return tuple(tensor[..., features].contiguous() for tensor in state)
    return None if state is None else state[..., features].contiguous()


def _index(state: State, layer: int) -> State:
    if isinstance(state, tuple):
        return tuple(tensor[layer : layer + 1] for tensor in state)
    return state[layer : layer + 1]


def _cat(states: list[State], dim: int) -> State:
    if isinstance(states[0], tuple):
        return tuple(torch.cat(tensors, dim) for tensors in zip(*states, strict=True))
    return torch.cat(states, dim)  # type: ignore[arg-type]
