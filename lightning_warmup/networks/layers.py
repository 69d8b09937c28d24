"""Drives any recurrent module layer by layer, time first.

Sampling, settling and warmup need to run each layer of a stack by itself. A recurrent layer is anything with
torch's call ``output, h_n = rnn(input, h_0)``; its state is a tensor or a tuple of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.cells._gated import GatedCell
from lightning_warmup.engine.denormals import chunked
from lightning_warmup.engine.state import State
from lightning_warmup.networks.double import DoubleLayer
from lightning_warmup.networks.recurrent import RecurrentNetwork


@dataclass(frozen=True)
class Layer:
    """One recurrent layer, time first.

    Attributes:
        run: ``(input, state) -> (output, state)``, ``(T, B, I)`` to ``(T, B, H)``; the state None is zero.
        input_size: Features I of its input; None if the module does not tell: then those of the sequences.
        warmed: Parameters that a warmup may move.
        frozen: Parameters that a partial warmup does not move.
        part: Picks from the layer's state the part that is warmed up.
    """

    run: Callable[[Tensor, State | None], tuple[Tensor, State]]
    input_size: int | None
    warmed: list[nn.Parameter]
    frozen: list[nn.Parameter] = field(default_factory=list)
    part: Callable[[State], State] = lambda state: state


def layers_of(rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer]) -> list[Layer]:
    """Splits a recurrent module into the layers it is made of.

    Args:
        rnn: A :class:`RecurrentNetwork`, a :class:`DoubleLayer`, one of our cells, ``torch.nn.LSTM``, ``GRU`` or
            ``RNN`` of any depth, a sequence of such layers, or any module with torch's call, which is then
            driven whole; layers that are split already stay as they are. Their attribute ``batch_first`` is
            respected.

    Raises:
        ValueError: If a module is bidirectional: its backward half has no state to settle.
    """
    if isinstance(rnn, RecurrentNetwork):
        return layers_of(rnn.layers)
    if isinstance(rnn, (nn.ModuleList, list, tuple)):
        return [layer for part in rnn for layer in ([part] if isinstance(part, Layer) else layers_of(part))]
    assert isinstance(rnn, nn.Module)
    if getattr(rnn, "bidirectional", False):
        raise ValueError("a bidirectional network cannot be warmed up or measured: pass a unidirectional one")
    if isinstance(rnn, DoubleLayer):
        halves = list(rnn.first.parameters()), list(rnn.second.parameters())
        return [Layer(_time_first(rnn), rnn.input_size, *halves, rnn.first_state)]
    if isinstance(rnn, nn.RNNBase):
        return [_torch_layer(rnn, index) for index in range(rnn.num_layers)]
    return [Layer(_time_first(rnn), getattr(rnn, "input_size", None), list(rnn.parameters()))]


def _time_first(rnn: nn.Module) -> Callable[[Tensor, State | None], tuple[Tensor, State]]:
    batch_first = bool(getattr(rnn, "batch_first", False))

    def run(input: Tensor, state: State | None) -> tuple[Tensor, State]:
        if not batch_first:
            return rnn(input, state)
        output, state = rnn(input.transpose(0, 1), state)
        return output.transpose(0, 1), state

    if isinstance(rnn, (GatedCell, DoubleLayer)):
        return run
    return lambda input, state: chunked(run, input, state)


def _torch_layer(rnn: nn.RNNBase, index: int) -> Layer:
    """Layer ``index`` of a fused torch module, run through its own weights and without dropout."""
    names = rnn._all_weights[index]
    functions: dict[str, Any] = {
        "LSTM": torch.lstm,
        "GRU": torch.gru,
        "RNN_TANH": torch.rnn_tanh,
        "RNN_RELU": torch.rnn_relu,
    }
    function = functions[rnn.mode]

    def run(input: Tensor, state: State | None) -> tuple[Tensor, State]:
        if state is None:
            state = zero_state(input)
        # weights, biases, layers, dropout, training, bidirectional, batch_first
        weights = [getattr(rnn, name) for name in names]
        output, *new = function(input, state, weights, rnn.bias, 1, 0.0, rnn.training, False, False)
        return output, tuple(new) if rnn.mode == "LSTM" else new[0]

    def zero_state(input: Tensor) -> State:
        h = input.new_zeros(1, input.shape[1], rnn.proj_size or rnn.hidden_size)
        return (h, input.new_zeros(1, input.shape[1], rnn.hidden_size)) if rnn.mode == "LSTM" else h

    return Layer(
        lambda input, state: chunked(run, input, state),
        (rnn.proj_size or rnn.hidden_size) if index else rnn.input_size,
        [getattr(rnn, name) for name in names],
    )
