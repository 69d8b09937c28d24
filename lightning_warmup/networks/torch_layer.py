"""Runs one layer of ``torch.nn.LSTM``, ``GRU`` or ``RNN`` through its own weights, as fast as a warmup needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from lightning_warmup._compat import functorch_active
from lightning_warmup.cells import GRU, RNN
from lightning_warmup.engine.denormals import chunked
from lightning_warmup.engine.gates import Weights
from lightning_warmup.engine.scan import scan
from lightning_warmup.engine.state import State
from lightning_warmup.networks.whole import require_features

ENGINE = {"GRU": GRU, "RNN_TANH": RNN}
"""Cells of the engine that compute what torch's layers do, by torch's name for them; of an LSTM torch is faster."""
FEWEST = 15
"""Steps from which on the engine is faster than torch, with a gradient on a CPU."""
LARGEST = 3200
"""Units of all rows up to which it is; beyond, both wait for the same matrix products."""
SHUT = 1e4
"""What opens or shuts a gate entirely."""


class TorchLayer:
    """Layer ``index`` of a torch module, time first and without dropout.

    Numbers are those of the module up to rounding, where another way to compute them is faster.

    Args:
        rnn: The module. Its weights are read at every call: they may have been replaced.
        index: Number of the layer, from 0.

    Attributes:
        input_size: Features I of the layer's input.
        parameters: Parameters of the layer, or those that its weights are computed from.
        stops: Whether :meth:`run_to` can be called.

    Raises:
        ValueError: If the weights are neither parameters nor computed by ``torch.nn.utils.parametrize``.
    """

    def __init__(self, rnn: nn.RNNBase, index: int) -> None:
        self._rnn, self._index = rnn, index
        self._output_size = rnn.proj_size or rnn.hidden_size
        self.input_size = self._output_size if index else rnn.input_size
        self.parameters = _parameters_of(rnn, index)
        self._two_states = rnn.mode == "LSTM"
        # The kernel for CUDA wants weights of its own.
        self._may_change_weights = self._two_states and not self._weights[0].is_cuda
        self.stops = self._may_change_weights or not self._two_states

    def run(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return output and state, ``(T, B, I)`` to ``(T, B, H)``; the state None is zero."""
        require_features(input, self.input_size)  # torch's function would read beyond it
        state = self._zeros(input) if state is None else state
        if self._engine_is_faster(input):
            return self._run_engine(input, state)
        weights, has_bias = self._weights, self._rnn.bias
        if self._may_change_weights and len(input) > 1 and input.stride()[:2] == (0, 0):
            weights, input = _in_bias(weights, input, has_bias)
            has_bias = True
        return self._run_torch(weights, has_bias, input, state)

    def run_to(self, input: Tensor, state: State | None, steps: Tensor) -> tuple[Tensor, State]:
        """Return the output and, for each row, the state after as many steps as ``steps``, ``(B,)``, says.

        The output of a row is of no use beyond them.
        """
        if not self._two_states:
            output, _ = self.run(input, state)
            return output, rows_at(output, steps)
        require_features(input, self.input_size)
        state = self._zeros(input) if state is None else state
        # Once a row has ended, one more feature opens its forget gates and shuts its input gates: c stays.
        ended = torch.arange(len(input), device=input.device).unsqueeze(1) >= steps
        weight, *others = self._weights
        column = weight.new_tensor([-SHUT, SHUT, 0.0, 0.0]).repeat_interleave(self._rnn.hidden_size)
        weights = [torch.cat([weight, column.unsqueeze(1)], 1), *others]
        longer = torch.cat([input, ended.unsqueeze(2).to(input)], 2)
        output, (_, c) = self._run_torch(weights, self._rnn.bias, longer, state)
        return output, (rows_at(output, steps), c)

    @property
    def _weights(self) -> list[Tensor]:
        return list(self._rnn.all_weights[self._index])

    def _run_torch(
        self, weights: Sequence[Tensor], has_bias: bool, input: Tensor, state: Any
    ) -> tuple[Tensor, State]:
        function = getattr(torch, self._rnn.mode.lower())  # torch.lstm, gru, rnn_tanh or rnn_relu

        def fused(weights: Sequence[Tensor], input: Tensor, state: Any) -> tuple[Tensor, State]:
            # biases, layers, dropout, training, bidirectional, batch_first
            output, *new = function(input, state, weights, has_bias, 1, 0.0, self._rnn.training, False, False)
            return output, tuple(new) if self._two_states else new[0]

        if not self._rnn.proj_size or input.is_cuda:
            return chunked(partial(fused, weights), input, state)
        # Torch is slow with projections on a CPU. Without them the recurrent weight is a product of both matrices,
        # but for the first step, whose state is projected already.
        weight_ih, weight_hh, *biases, weight_hr = weights
        first, c = _lstm_step(weight_ih, weight_hh, biases, input[:1], state)
        outputs, new = first, (first, c)
        if len(input) > 1:
            rest, new = chunked(partial(fused, [weight_ih, weight_hh @ weight_hr, *biases]), input[1:], new)
            outputs = torch.cat([first, rest])
        output = F.linear(outputs, weight_hr)
        return output, (output[-1:], new[1])

    def _zeros(self, input: Tensor) -> State:
        h = input.new_zeros(1, input.size(1), self._output_size)
        return (h, input.new_zeros(1, input.size(1), self._rnn.hidden_size)) if self._two_states else h

    def _engine_is_faster(self, input: Tensor) -> bool:
        return (
            self._rnn.mode in ENGINE
            and torch.is_grad_enabled()
            and not (input.is_cuda or torch.is_autocast_enabled(input.device.type) or functorch_active())
            and len(input) >= FEWEST
            and input.size(1) * self._rnn.hidden_size <= LARGEST
        )

    def _run_engine(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        cell = ENGINE[self._rnn.mode]
        weight_ih, weight_hh, *biases = self._weights
        weights = Weights(weight_ih, weight_hh, None, *(biases or (None, None)))
        step = partial(cast(Any, cell).step, None)  # it has no weights of its own, those are in its gates
        output, h = scan(step, cell.gates, input, [state[0]], weights)
        return output, h.unsqueeze(0)


def rows_at(output: Tensor, steps: Tensor) -> Tensor:
    """Return the output ``(T, B, H)`` of each row after its own number of steps, ``(1, B, H)``."""
    return output[steps - 1, torch.arange(len(steps), device=output.device)].unsqueeze(0)


def _lstm_step(
    weight_ih: Tensor, weight_hh: Tensor, biases: Sequence[Tensor], input: Tensor, state: State
) -> tuple[Tensor, Tensor]:
    """Return the states of an LSTM after one step, ``(1, B, H)`` each, the output not projected."""
    gates = F.linear(input, weight_ih, *biases[:1]) + F.linear(state[0], weight_hh, *biases[1:])
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _in_bias(weights: Sequence[Tensor], input: Tensor, has_bias: bool) -> tuple[list[Tensor], Tensor]:
    """Return weights and input of an LSTM that reads one constant input: its projection is part of the bias."""
    weight_ih, weight_hh, *rest = weights
    projection = weight_ih @ input[0, 0]
    biases = [rest[0] + projection, rest[1]] if has_bias else [projection, torch.zeros_like(projection)]
    projections = rest[2:] if has_bias else rest
    nothing = input.new_zeros(len(input), input.size(1), 1)
    return [weight_ih.new_zeros(len(weight_ih), 1), weight_hh, *biases, *projections], nothing


def _parameters_of(rnn: nn.RNNBase, index: int) -> list[nn.Parameter]:
    """Return the parameters of layer ``index``, or those that its weights are computed from."""
    plain = all(isinstance(weight, nn.Parameter) for weight in rnn.all_weights[index])
    if not plain and not is_parametrized(rnn):
        allowed = "use torch.nn.utils.parametrize, as torch.nn.utils.parametrizations.weight_norm does"
        raise ValueError(f"network={type(rnn).__name__}: its weights must be its own parameters; {allowed}")
    of_layer = re.compile(rf"_l{index}(\D|$)")
    return [parameter for name, parameter in rnn.named_parameters() if of_layer.search(name)]
