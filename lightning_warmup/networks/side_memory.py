"""A plain recurrent network with a memory at its side that is silent at the start."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from lightning_warmup.cells import cell_by_name
from lightning_warmup.engine.gates import as_tuple
from lightning_warmup.engine.state import State, map_state, state_of_all, state_of_layer
from lightning_warmup.networks.double import Call, as_called, run_halves
from lightning_warmup.networks.packed import run_packed


class SideMemory(nn.Module):
    """A plain network and a memory, half of the units each, in the place of ``torch.nn.GRU`` or ``LSTM``.

    A warmup changes the memory alone. Learnt gains, one for each unit, multiply the memory's outputs, and start at
    0. So at its start the plain network computes what it would compute alone, to the last bit. Training then takes
    from the memory what it can use.

        memory_l = cell(memory_{l-1} and plain_{l-1}, side by side)
        plain_l  = cell(plain_{l-1} + gain_{l-1} * memory_{l-1})
        output   = gain_L * memory_L and plain_L, side by side

    The gains are those of LayerScale, Touvron et al., arXiv 2103.17239.

    Args:
        cell: Name of the cell, see :func:`lightning_warmup.cells.cell_names`. ``"lstm"``, ``"gru"`` and ``"rnn"``
            compute what torch's layers compute, with weights of the same names.
        input_size: Features I of the input.
        hidden_size: Units H of each layer, one half of them the memory's; even.
        num_layers: Layers L.
        bias: Whether cells have biases.
        batch_first: Whether sequences are ``(B, T, I)`` instead of ``(T, B, I)``.
        dropout: Share of a layer's outputs that the layer above does not see while it trains. A warmup, which goes
            layer by layer, has none.
        device, dtype: Device and type of the weights.

    Shapes: input ``(T, B, I)``, output ``(T, B, H)``, states ``(L, B, H)``, a tuple of them for a cell with
    several; unbatched ``(T, I)``, ``(T, H)`` and ``(L, H)``. A packed input gives a packed output.
    In outputs and states the memory comes first along H.

    Only the output is silent: gains do not change the states. What follows must read the output, or
    :meth:`last_output`, and not ``h_n[-1]``.

    Raises:
        ValueError: If a size is not positive, ``hidden_size`` is odd, ``dropout`` is no share, or the cell is
            unknown. Where it runs: if the input or the states have other shapes.

    Examples:
        >>> output, h_n = SideMemory("gru", 3, 8, num_layers=2)(torch.randn(5, 2, 3))
        >>> output.shape, h_n.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 8]))
    """

    bidirectional = False

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers}: must be at least 1")
        if hidden_size < 2 or hidden_size % 2:
            raise ValueError(
                f"hidden_size={hidden_size}: must be even and positive, one half is the memory's"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout={dropout}: must be in 0..1")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        where = {"device": device, "dtype": dtype}
        make, half, above = partial(cell_by_name(cell), bias=bias, **where), hidden_size // 2, num_layers - 1
        self.memory = nn.ModuleList(make(size, half) for size in [input_size] + [hidden_size] * above)
        self.plain = nn.ModuleList(make(size, half) for size in [input_size] + [half] * above)
        self.gains = nn.ParameterList(torch.zeros(half, **where) for _ in range(num_layers))

    def forward(self, input: Any, hx: State | None = None) -> tuple[Any, State]:
        h_0 = tuple(hx) if isinstance(hx, list) else hx
        if isinstance(input, PackedSequence):
            self._check(h_0, int(input.batch_sizes[0]))
            return run_packed(self._run, input, h_0)
        if input.dim() == 2:
            self._check(h_0)
            state = None if h_0 is None else map_state(lambda tensor: tensor.unsqueeze(1), h_0)
            output, h_n = self._run(input.unsqueeze(1), state)
            return output.squeeze(1), map_state(lambda tensor: tensor.squeeze(1), h_n)
        if input.dim() != 3:
            raise ValueError(f"input has shape {tuple(input.shape)}: must have 2 or 3 axes")
        self._check(h_0, input.size(0 if self.batch_first else 1))
        if not self.batch_first:
            return self._run(input, h_0)
        output, h_n = self._run(input.transpose(0, 1), h_0)
        return output.transpose(0, 1), h_n

    def _check(self, h_0: State | None, *batch: int) -> None:
        """Raise a ValueError if states are not of the shape ``(L, *batch, H)``."""
        if h_0 is None:
            return
        expected = self.num_layers, *batch, self.hidden_size
        found = [tuple(tensor.shape) for tensor in as_tuple(h_0)]
        if any(shape != expected for shape in found):
            raise ValueError(f"hx has shapes {found}: must be {expected} each")

    def _run(self, input: Tensor, h_0: State | None) -> tuple[Tensor, State]:
        """Return the output, ``(T, B, H)``, and the states of all layers for an input ``(T, B, I)``."""
        states = []
        for index in range(self.num_layers):
            if index > 0:
                input = F.dropout(input, self.dropout, self.training)
            input, state = self.run_layer(index, input, state_of_layer(h_0, index))
            states.append(state)
        return self._output(input), state_of_all(states)

    def _output(self, hidden: Tensor) -> Tensor:
        """Return hidden states of the last layer, ``(..., H)``, with the memory behind its gains."""
        memory, plain = hidden.chunk(2, -1)
        return torch.cat([self._heard(-1, memory), plain], -1)

    def _heard(self, index: int, memory: Tensor) -> Tensor:
        """Return the memory's hidden states of a layer behind its gains, in their own precision."""
        return self.gains[index].to(memory.dtype) * memory

    def run_layer(
        self, index: int, input: Tensor, h_0: State | None, call: Call = as_called
    ) -> tuple[Tensor, State]:
        """Return the output of a layer, ``(T, B, H)``, and its states, ``(1, B, H)``, before its gains.

        An upper layer takes the output of the layer below before its gains, too. Both halves are run by ``call``.
        """
        heard = input
        if index > 0:
            memory, plain = input.chunk(2, -1)
            heard = plain + self._heard(index - 1, memory)
        return run_halves((self.memory[index], self.plain[index]), (input, heard), h_0, call)

    def cells(self) -> list[list[nn.Module]]:
        """Return the two cells of each layer, the memory first."""
        return [list(pair) for pair in zip(self.memory, self.plain, strict=True)]

    def last_output(self, h_n: State) -> Tensor:
        """Return the output at the step after which the states are ``h_n``: ``(L, B, H)`` to ``(B, H)``.

        Classifiers of packed sequences read it in the place of ``h_n[-1]``, which is not silent.
        """
        return self._output(as_tuple(h_n)[0][-1])

    def reset_parameters(self) -> None:
        """Draw the weights of all cells anew, and silence the memory."""
        for cell in (*self.memory, *self.plain):
            cell.reset_parameters()
        for gain in self.gains:
            nn.init.zeros_(gain)

    def flatten_parameters(self) -> None:
        """Do nothing; torch's layers gather their weights on a GPU."""

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
