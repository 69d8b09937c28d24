"""Torch's layers, driven as a warmup drives them, against torch's own call on each sequence alone, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_warmup.dynamics.reachable import reachable_states
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import layers_of

LENGTH, ROWS, HELD = 120, 6, 60
LENGTHS = torch.tensor([120, 1, 50, 51, 50, 99])
KINDS: list[tuple[type[nn.RNNBase], dict[str, Any]]] = [
    (nn.GRU, {}),
    (nn.GRU, {"bias": False}),
    (nn.LSTM, {}),
    (nn.LSTM, {"bias": False}),
    (nn.LSTM, {"proj_size": 3}),
    (nn.LSTM, {"proj_size": 3, "bias": False}),
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu"}),
]


def by_torch(rnn: nn.RNNBase, sequences: Tensor, held: Tensor) -> Tensor:
    """Return the states of all layers at the ends of sequences, and after a constant input, by torch's call."""
    rows = []
    for index, length in enumerate(LENGTHS.tolist()):
        _, state = rnn(sequences[:length, index : index + 1])
        rows.append([flatten_state(part_of(state, 0)), flatten_state(rnn(held[:, :1], state)[1])])
    return torch.cat([torch.cat(row, 1) for row in rows])


def part_of(state: State, layer: int) -> State:
    one = slice(layer, layer + 1)
    return tuple(part[one] for part in state) if isinstance(state, tuple) else state[one]


def by_layers(rnn: nn.RNNBase, sequences: Tensor, held: Tensor) -> Tensor:
    layers = layers_of(rnn)
    states = reachable_states(layers, sequences, LENGTHS)
    first, input, after = flatten_state(states[0]), held, []
    for layer, state in zip(layers, states, strict=True):
        input, new = layer.run(input, state)
        after.append(new)
    pairs = zip(*(new if isinstance(new, tuple) else (new,) for new in after), strict=True)
    joined = tuple(torch.cat(parts) for parts in pairs)
    return torch.cat([first, flatten_state(joined)], 1)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_states_and_gradients_are_those_of_torch(kind: type[nn.RNNBase], settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    rnn = kind(2, 8, 2, dtype=torch.float64, **settings)
    sequences = torch.randn(LENGTH, ROWS, 2, dtype=torch.float64)
    held = torch.randn(1, 1, 2, dtype=torch.float64).expand(HELD, ROWS, -1)
    results = []
    for run in (by_torch, by_layers):
        rnn.zero_grad()
        states = run(rnn, sequences, held)
        (states * torch.linspace(-1, 2, states.numel(), dtype=states.dtype).view_as(states)).sum().backward()
        results.append([states.detach(), *(p.grad.clone() for p in rnn.parameters() if p.grad is not None)])
    expected, found = results
    assert len(found) == 1 + len(list(rnn.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_padding_may_be_no_number(kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    rnn, sequences = kind(2, 8), torch.randn(LENGTH, ROWS, 2)
    beyond = torch.arange(LENGTH).unsqueeze(1) >= LENGTHS
    padded = sequences.masked_fill(beyond.unsqueeze(2), torch.nan)
    gradients = []
    for input in (sequences, padded):
        rnn.zero_grad()
        flatten_state(reachable_states(layers_of(rnn), input, LENGTHS)[0]).sum().backward()
        gradients.append([p.grad.clone() for p in rnn.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[1], gradients[0])
