"""A stack of recurrent layers with a linear read-out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_warmup.cells import LSTM, GatedCell, cell_by_name
from lightning_warmup.engine.state import State, state_of_all, state_of_layer
from lightning_warmup.initialisations import initialise
from lightning_warmup.networks.double import DoubleLayer
from lightning_warmup.networks.side_memory import SideMemory

CHUNK = 200  # steps in memory at once, where only some are read and no gradient is needed


class RecurrentNetwork(nn.Module):
    """A stack of recurrent layers with a linear read-out.

    Args:
        input_size: Features I of the input.
        hidden_size: Width H of every layer.
        output_size: Outputs O of the read-out.
        num_layers: Layers L of the stack.
        cell: Name of the cell, see :func:`lightning_warmup.cells.cell_names`.
        double: Whether every layer has two halves, of which a warmup moves one.
        init: Name of the initialisation, see :mod:`lightning_warmup.initialisations`.
        t_max: Longest time scale of the chrono initialisation, in steps.
        batch_first: Whether sequences are ``(B, T, I)`` instead of ``(T, B, I)``.
        silent: Whether a double network is a :class:`SideMemory`: it starts as the plain network of the halves that
            a warmup leaves alone. Otherwise its layers are a :class:`DoubleLayer` each, as published.

    Shapes: input ``(T, B, I)``, output ``(T, B, O)``, states ``(L, B, H)``, a tuple of them for an LSTM; unbatched
    ``(T, I)``, ``(T, O)`` and ``(L, H)``.

    Attributes:
        arguments: The arguments as plain values; a checkpoint rebuilds the network from them.

    Raises:
        ValueError: If a name is unknown, a size is not positive, or ``hidden_size`` is odd and ``double`` is set.
    """

    may_differ: ClassVar[frozenset[str]] = frozenset({"init", "t_max"})
    """Arguments that say how the weights are drawn, not which network it is."""

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
        silent: bool = True,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.arguments: dict[str, Any] = arguments
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers}: must be at least 1")
        self.batch_first = batch_first
        self.layers: nn.ModuleList | SideMemory
        if double and silent:
            self.layers = SideMemory(cell, input_size, hidden_size, num_layers)
        else:
            make = partial(DoubleLayer, cell) if double else cell_by_name(cell)
            sizes = [input_size] + [hidden_size] * (num_layers - 1)
            self.layers = nn.ModuleList(make(size, hidden_size) for size in sizes)
        self.readout = nn.Linear(hidden_size, output_size)
        drawn: Iterable[Iterable[nn.Module]] = self.cells()
        if isinstance(self.layers, SideMemory):  # all memories before the plain cells
            drawn = zip(*drawn, strict=True)
        for part in chain.from_iterable(drawn):
            initialise(part, init, t_max)

    def cells(self) -> list[list[nn.Module]]:
        """Return the cells of each layer: two where it has halves, of which the first is warmed up."""
        if isinstance(self.layers, SideMemory):
            return self.layers.cells()
        return [
            [layer.first, layer.second] if isinstance(layer, DoubleLayer) else [layer]
            for layer in self.layers
        ]

    def forward(
        self, input: Tensor, h_0: State | None = None, read_at: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Return the outputs and the final states; without ``h_0`` states start at zero.

        ``read_at`` picks K time steps for the output, which is then ``(K, B, O)``: ``(K,)`` for all sequences, or
        ``(B, K)`` for each sequence's own, where -1 stands for none and its output means nothing. Without a
        gradient, such a pass needs no memory that grows with T, beside its input.

        Raises:
            ValueError: If there is no such step in ``read_at``. With a gradient on a GPU, which would have to wait
                for an answer, torch raises its own error.
        """
        batch_first = self.batch_first and input.dim() == 3
        steps = input.transpose(0, 1) if batch_first else input
        if read_at is None:
            output, states = self._run(steps, h_0)
            output = self._read(output)
        elif torch.is_grad_enabled() or len(steps) <= CHUNK or steps.dim() < 3:
            if not read_at.is_cuda:
                check_steps(read_at, len(steps))
            output, states = self._run(steps, h_0)
            rows = torch.arange(len(read_at), device=output.device)
            output = self._read(output[read_at] if read_at.dim() == 1 else output[read_at.T, rows])
        else:
            output, states = self._read_in_chunks(steps, h_0, read_at)
        return output.transpose(0, 1) if batch_first else output, states

    def _run(self, output: Tensor, h_0: State | None) -> tuple[Tensor, State]:
        """Return the last layer's outputs, (T, B, H), and the states of all."""
        if isinstance(self.layers, SideMemory):
            return self.layers(output, h_0)
        h_n = []
        for index, layer in enumerate(self.layers):
            output, state = layer(output, state_of_layer(h_0, index))
            h_n.append(state)
        return output, state_of_all(h_n)

    def _read(self, output: Tensor) -> Tensor:
        if not isinstance(self.layers, SideMemory):
            return self.readout(output)
        memory, plain = (half.contiguous() for half in output.chunk(2, -1))
        of_memory, of_plain = (half.contiguous() for half in self.readout.weight.chunk(2, 1))
        # Two products: in one, the zeros of a silent memory change the order of the sum, and so its last bits.
        return F.linear(plain, of_plain, self.readout.bias) + F.linear(memory, of_memory)

    def _read_in_chunks(self, input: Tensor, state: State | None, read_at: Tensor) -> tuple[Tensor, State]:
        """Return the outputs (K, B, O) and the final states, from chunk to chunk of time."""
        length, count, _ = input.shape
        check_steps(read_at, length)
        at = (read_at.T if read_at.dim() == 2 else read_at.unsqueeze(1).expand(-1, count)) % length
        found: Tensor | None = None
        for start in range(0, length, CHUNK):
            output, state = self._run(input[start : start + CHUNK], state)
            k, row = ((start <= at) & (at < start + CHUNK)).nonzero(as_tuple=True)
            read = self._read(output[at[k, row] - start, row])
            if found is None:
                found = read.new_empty(*at.shape, read.size(-1))
            found[k, row] = read
        assert found is not None
        assert state is not None
        return found, state


def gated_cells(network: RecurrentNetwork | SideMemory) -> list[list[Any]]:
    """Return the cells of each layer of a network, all of which have gates.

    Raises:
        ValueError: If one is another module.
    """
    layers = network.cells()
    for cell in chain.from_iterable(layers):
        if not isinstance(cell, (GatedCell, LSTM)):
            raise ValueError(f"network: its layer {type(cell).__name__} must be a cell with gates")
    return layers


def check_steps(read_at: Tensor, length: int) -> None:
    """Raise a ValueError unless sequences of ``length`` steps have all steps of ``read_at``, of any shape."""
    outside = read_at[(read_at < -length) | (read_at >= length)]
    if len(outside):
        raise ValueError(f"read_at={int(outside[0])}: must be a step of the sequences, in 0..{length - 1}")
