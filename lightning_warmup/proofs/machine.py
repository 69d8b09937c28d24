"""A network as one function of its state and an input, on tensors and on intervals alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_warmup.cells import GRU, LSTM, RNN
from lightning_warmup.engine.gates import Gate, Weights, stacked_weights
from lightning_warmup.engine.scan import loop
from lightning_warmup.networks import RecurrentNetwork, SideMemory
from lightning_warmup.networks.layers import has_forward_of
from lightning_warmup.networks.recurrent import gated_cells
from lightning_warmup.proofs.intervals import Interval, stored, widened

Values: TypeAlias = Any  # tensors, or intervals, which torch's functions take as well


class Part(NamedTuple):
    """A cell in a layer, and where its states lie among all units."""

    step: Callable[..., Any]
    gates: Mapping[str, Gate]
    weights: Weights
    states: list[slice]


class Machine:
    """A network, and its read-out, as functions of the states of all layers, joined in one vector.

    Weights are read when it is made, in float64; gradients reach the network's own.

    Args:
        network: A :class:`RecurrentNetwork`, a :class:`SideMemory`, or a ``torch.nn.GRU``, ``LSTM`` or ``RNN``.
        readout: The linear layer that answers; None is that of a :class:`RecurrentNetwork`.
        precision: What inputs and states are rounded to in every step; None for real arithmetic.

    Attributes:
        units: U, states of all layers together: layer by layer, in a double layer half by half, each h before c.

    Shapes: inputs ``(N, I)``, states ``(N, U)``.

    Raises:
        ValueError: If the network is another module or computes something else, has cells without gates, would drop
            units at random, or has no read-out.
    """

    def __init__(
        self, network: nn.Module, readout: nn.Linear | None = None, precision: torch.dtype | None = None
    ) -> None:
        _check_call(network)
        own = network.readout if isinstance(network, RecurrentNetwork) else None
        if own is not None and readout is not None:
            raise ValueError(f"readout: must be left out, a {type(network).__name__} has its own")
        if (readout := readout or own) is None:
            raise ValueError(f"readout=None: must be given, a {type(network).__name__} has none")
        self.precision = precision
        inner = network.layers if isinstance(network, RecurrentNetwork) else network
        self._gains = [gain.double() for gain in inner.gains] if isinstance(inner, SideMemory) else []
        self.units, self.layers = 0, list[list[Part]]()
        for cells in _cells(network):
            self.layers.append([self._part(cell, weights) for cell, weights in cells])
        self._weight = readout.weight.double()
        self._bias = (
            self._weight.new_zeros(len(self._weight)) if readout.bias is None else readout.bias.double()
        )

    def _part(self, cell: Any, weights: Weights) -> Part:
        states = []
        for _ in range(cell.states):
            states.append(slice(self.units, self.units + cell.hidden_size))
            self.units += cell.hidden_size
        double = Weights(*(None if weight is None else weight.double() for weight in weights))
        return Part(cell.step, cell.gates, double, states)

    @property
    def sizes(self) -> tuple[int, int]:
        """Features of the input, and outputs."""
        first = self.layers[0][0].weights.weight_ih
        assert first is not None
        return first.shape[1], len(self._weight)

    def step(self, input: Values, state: Values, disturbance: float = 0.0) -> Values:
        """Return the states after one more input, see :meth:`step_towards`."""
        return self.step_towards(input, state, disturbance)[0]

    def step_towards(self, input: Values, state: Values, disturbance: float = 0.0) -> tuple[Values, Values]:
        """Return the states after one more input, and what they move towards.

        Units that are a convex combination of a candidate and of themselves move towards the candidate: a box
        that holds the candidates holds the states after the step. For the cell of an LSTM, f c + i g, the candidate
        is i g / (1 - f), which may be far. Others move to where they are after the step.

        Args:
            input: Inputs.
            state: States before.
            disturbance: By how much every unit may be moved before the next layer and the next step see it, where
                states are intervals.
        """
        new, towards = [], []
        heard = input = self._stored(input)
        for index, parts in enumerate(self.layers):
            outputs = []
            for part, given in zip(parts, (input, heard), strict=False):
                before = [_held(state[:, where]) for where in part.states]
                after: Values = loop(part.step, part.gates, given[None], before, part.weights)[1:]
                for each in after:
                    candidate = getattr(each, "candidate", None)
                    towards.append(each if candidate is None else candidate)
                after = tuple(self._stored(each) for each in after)
                if disturbance:
                    after = tuple(widened(each, disturbance) for each in after)
                outputs.append(after[0])
                new += after
            input = heard = torch.cat(outputs, 1)
            if self._gains:  # the plain half of a side memory hears the memory by its gain
                heard = outputs[1] + outputs[0] * self._gains[index]
        return torch.cat(new, 1), torch.cat(towards, 1)

    def _stored(self, values: Values) -> Values:
        return values if self.precision is None else stored(values, self.precision)

    def joined(self, state: Any) -> Tensor:
        """Return states as the network gives them, ``(L, N, H)`` or a tuple of such, as ``(N, U)``."""
        tensors, found = state if isinstance(state, tuple) else (state,), []
        for index, parts in enumerate(self.layers):
            sizes = [part.states[0].stop - part.states[0].start for part in parts]
            halves = [tensor[index].double().split(sizes, 1) for tensor in tensors]
            found += [half[place] for place in range(len(parts)) for half in halves]
        return torch.cat(found, 1)

    def outputs(self, state: Tensor) -> Tensor:
        """Return the read-out's outputs, ``(N, O)``."""
        return F.linear(self._read(state), self._weight, self._bias)

    def leads(self, state: Values, answers: Tensor) -> Values:
        """Return by how much an output leads over each other one, ``(N, O - 1)``.

        The rows of the read-out are subtracted first: of two outputs that move together the lead does not move.

        Args:
            state: States, ``(N, U)``.
            answers: Which output, ``(N,)``.
        """
        count = len(self._weight)
        others = torch.tensor([[k for k in range(count) if k != answer] for answer in range(count)])
        rows = self._weight[:, None] - self._weight[others]
        biases = self._bias[:, None] - self._bias[others]
        read = self._read(state)
        leads = [F.linear(read[i : i + 1], rows[a], biases[a]) for i, a in enumerate(answers.tolist())]
        return torch.cat(leads)

    def _read(self, state: Values) -> Values:
        parts = [state[:, part.states[0]] for part in self.layers[-1]]
        if self._gains:
            parts[0] = parts[0] * self._gains[-1]
        return torch.cat(parts, 1)


def _check_call(network: nn.Module) -> None:
    """Raise a ValueError if a network's call is not that of its class, or is random."""
    known = (RecurrentNetwork, SideMemory, LSTM, nn.GRU, nn.LSTM, nn.RNN)
    if isinstance(network, known) and not has_forward_of(network, *known):
        raise ValueError(
            f"network={type(network).__name__}: has a forward of its own, which a proof does not read"
        )
    for part in network.modules():
        dropout: Any = getattr(part, "dropout", None)
        if part.training and dropout:
            raise ValueError(f"dropout={dropout}: a proof is one of the network in eval mode: call eval()")


def _held(state: Values) -> Values:
    """Return states before a step, marked as such where they are intervals."""
    return Interval(state.lower, state.upper, held=True) if isinstance(state, Interval) else state


def _cells(network: nn.Module) -> list[list[tuple[Any, Weights]]]:
    """Return the cells of each layer, and their weights."""
    if isinstance(network, (RecurrentNetwork, SideMemory)):
        return [[(cell, stacked_weights(cell)) for cell in cells] for cells in gated_cells(network)]
    kinds = {"GRU": GRU, "LSTM": LSTM, "RNN_TANH": RNN}
    if not isinstance(network, nn.RNNBase) or network.mode not in kinds:
        known = "a RecurrentNetwork of cells with gates, or torch.nn.GRU, LSTM or RNN of tanh"
        raise ValueError(f"network={type(network).__name__}: must be {known}")
    for name, plain in (("bidirectional", False), ("proj_size", 0)):
        if getattr(network, name) != plain:
            raise ValueError(f"{name}={getattr(network, name)}: must be {plain} for a proof")
    cell = kinds[network.mode](
        network.input_size, network.hidden_size, device="meta"
    )  # its step alone is used
    layers = range(network.num_layers)
    fields = [[getattr(network, f"{name}_l{i}", None) for name in Weights._fields] for i in layers]
    return [[(cell, Weights(*each))] for each in fields]
