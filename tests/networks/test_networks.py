"""Stacks, double layers, and torch's modules driven layer by layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lightning_warmup.cells import cell_names
from lightning_warmup.networks import DoubleLayer, RecurrentNetwork, layers_of, recurrent

CELLS = cell_names()


@pytest.mark.parametrize("halves", [{}, {"double": True}, {"double": True, "silent": False}])
@pytest.mark.parametrize("cell", CELLS)
def test_a_network_has_torchs_call(cell: str, halves: dict[str, bool]) -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(3, 8, 2, num_layers=2, cell=cell, **halves)
    sequences = torch.randn(7, 4, 3)
    output, h_n = network(sequences)
    assert output.shape == (7, 4, 2)
    for tensor in h_n if isinstance(h_n, tuple) else (h_n,):
        assert tensor.shape == (2, 4, 8)
    first, state = network(sequences[:3])
    second, last = network(sequences[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), output)
    torch.testing.assert_close(last, h_n)
    read_at = torch.tensor([6, 2])
    torch.testing.assert_close(network(sequences, read_at=read_at)[0], output[read_at])
    network.batch_first = True
    torch.testing.assert_close(network(sequences.transpose(0, 1))[0].transpose(0, 1), output)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_read_outs_are_those_of_the_whole_output_also_in_chunks(
    monkeypatch: pytest.MonkeyPatch, own: bool, batch_first: bool
) -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(3, 8, 2, num_layers=2, cell="lstm", batch_first=batch_first)
    sequences, h_0 = torch.randn(4, 11, 3), (torch.randn(2, 4, 8), torch.randn(2, 4, 8))
    given = sequences if batch_first else sequences.transpose(0, 1)
    output, h_n = network(given, h_0)
    read_at = torch.tensor([[0, 10, -1], [4, 5, 6], [9, -1, -1], [3, 2, 3]]) if own else torch.tensor([9, 4])
    steps = read_at if own else read_at.expand(4, 2)
    rows = torch.arange(4).unsqueeze(1)
    expected = output[rows, steps] if batch_first else output[steps, rows].transpose(0, 1)
    found, _ = network(given, h_0, read_at)
    torch.testing.assert_close(found, expected)
    monkeypatch.setattr(recurrent, "CHUNK", 4)
    steps_at_once = []
    network.layers[0].register_forward_pre_hook(lambda _, args: steps_at_once.append(len(args[0])))
    with torch.no_grad():
        found, states = network(given, h_0, read_at)
    assert steps_at_once == [4, 4, 3]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(states, h_n)


@pytest.mark.parametrize("cell", CELLS)
def test_the_halves_of_a_double_layer_are_independent(cell: str) -> None:
    torch.manual_seed(0)
    layer = DoubleLayer(cell, 3, 8)
    sequences = torch.randn(5, 2, 3)
    output, _ = layer(sequences)
    torch.testing.assert_close(output[..., :4], layer.first(sequences)[0])
    torch.testing.assert_close(output[..., 4:], layer.second(sequences)[0])


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("length", [5, 300])
def test_a_step_that_sequences_do_not_have_is_not_read(length: int, gradient: bool) -> None:
    network, sequences = RecurrentNetwork(1, 4, 1), torch.randn(length, 2, 1)
    with torch.set_grad_enabled(gradient):
        for wrong in (torch.tensor([0, length]), torch.tensor([[0, -1], [length, 2]])):
            said = rf"^read_at={length}: must be a step of the sequences, in 0\.\.{length - 1}$"
            with pytest.raises(ValueError, match=said):
                network(sequences, read_at=wrong)
        assert network(sequences, read_at=torch.tensor([-1, length - 1]))[0].shape == (2, 2, 1)


def test_sizes_that_do_not_go_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size=7"):
        DoubleLayer("gru", 1, 7)
    with pytest.raises(ValueError, match="num_layers=0"):
        RecurrentNetwork(1, 4, 1, num_layers=0)
    with pytest.raises(ValueError, match="gruu"):
        RecurrentNetwork(1, 4, 1, cell="gruu")


PLAIN = [(kind, {"bias": bias}) for kind in (nn.LSTM, nn.GRU, nn.RNN) for bias in (True, False)]
PROJECTED = [(nn.LSTM, {"bias": bias, "proj_size": 3}) for bias in (True, False)]


@pytest.mark.parametrize(("kind", "settings"), PLAIN + PROJECTED)
def test_the_layers_of_a_torch_module_give_its_output(kind: Any, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    rnn, output = kind(3, 6, num_layers=2, **settings), torch.randn(60, 4, 3)
    expected, h_n = rnn(output)
    layers, states = layers_of(rnn), []
    for layer in layers:
        output, state = layer.run(output, None)
        states.append(state if isinstance(state, tuple) else (state,))
    torch.testing.assert_close(output, expected)
    for found, whole in zip(
        zip(*states, strict=True), h_n if isinstance(h_n, tuple) else (h_n,), strict=True
    ):
        torch.testing.assert_close(torch.cat(found), whole)
    moved = [id(parameter) for layer in layers for parameter in layer.warmed]
    assert moved == [id(parameter) for parameter in rnn.parameters()]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_weights_that_are_replaced_are_used(kind: Any) -> None:
    torch.manual_seed(0)
    rnn, x = nn.utils.parametrizations.weight_norm(kind(3, 6), "weight_hh_l0"), torch.randn(5, 4, 3)
    (layer,) = layers_of(rnn)
    before = layer.run(x, None)[0]
    torch.testing.assert_close(before, rnn(x)[0])
    with torch.no_grad():
        rnn.parametrizations.weight_hh_l0.original0.mul_(3)
    after = layer.run(x, None)[0]
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, rnn(x)[0])
