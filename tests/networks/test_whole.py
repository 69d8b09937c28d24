"""Cells and modules of others: what is driven, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_warmup import Unrolled, find_network, layers_of, multistability, warmup


class Nested(nn.Module):
    """A recurrent module whose state is ``(h, (c, x))``: ``(B, H)``, ``(1, B, H)`` and ``(B, I)``."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.batch_first = nn.LSTM(2, 8, batch_first=True), True

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if state is not None:
            h, (c, last) = state
            assert [h.dim(), c.dim(), last.dim()] == [2, 3, 2]
            state = h.unsqueeze(0), c
        output, (h, c) = self.rnn(input, state)
        return output, (h.squeeze(0), (c, input[:, -1]))


@pytest.mark.parametrize(
    ("kind", "layer"), [(nn.GRUCell, nn.GRU), (nn.LSTMCell, nn.LSTM), (nn.RNNCell, nn.RNN)]
)
def test_a_cell_of_torch_is_its_layer(kind: Any, layer: Any) -> None:
    torch.manual_seed(0)
    cell, whole, sequences = kind(2, 8), layer(2, 8), torch.randn(30, 40, 2)
    for (_, one), (_, other) in zip(cell.named_parameters(), whole.named_parameters(), strict=True):
        other.data.copy_(one.data)
    torch.testing.assert_close(Unrolled(cell)(sequences)[0], whole(sequences)[0])
    steps = warmup(cell, sequences, steps=2), warmup(whole, sequences, steps=2)
    assert steps[0][1].loss == pytest.approx(steps[1][1].loss, rel=1e-3)
    torch.testing.assert_close(cell.weight_hh, whole.weight_hh_l0, rtol=1e-3, atol=1e-4)
    assert find_network(nn.ModuleDict({"cell": cell})) is cell


def test_a_stack_of_cells_is_driven_layer_by_layer() -> None:
    cells = [nn.GRUCell(1, 4), nn.LSTMCell(4, 3)]
    measured = multistability(cells, torch.randn(6, 8, 1), steps=3, draws=1)
    assert len(measured.places_per_layer) == 2


def test_states_may_be_nested_and_without_an_axis_of_layers() -> None:
    torch.manual_seed(0)
    module, sequences = Nested(), torch.randn(64, 20, 2)
    (layer,) = layers_of(module)
    output, state = layer.run(sequences.transpose(0, 1), None)
    assert [tuple(tensor.shape) for tensor in state] == [(1, 64, 8), (1, 64, 8), (1, 64, 2)]
    first, state = layer.run(sequences[:, :9].transpose(0, 1), None)
    second, _ = layer.run(sequences[:, 9:].transpose(0, 1), state)
    torch.testing.assert_close(torch.cat([first, second]), output)
    assert len(warmup(module, sequences, steps=2)) == 2


def test_a_parametrized_weight_is_warmed_up_through_its_parameters() -> None:
    torch.manual_seed(0)
    rnn = nn.utils.parametrizations.weight_norm(nn.LSTM(1, 4, num_layers=2), "weight_hh_l1")
    before = {name: parameter.detach().clone() for name, parameter in rnn.named_parameters()}
    assert "parametrizations.weight_hh_l1.original1" in before
    warmup(rnn, torch.randn(6, 32, 1), steps=2)
    assert all(not torch.equal(parameter, before[name]) for name, parameter in rnn.named_parameters())


class Images(nn.Linear):
    """A module whose state is no state of a sequence of vectors."""

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        return input, torch.zeros(input.size(1), 3, 4, 4)


class Last(nn.Linear):
    """A module that gives the last output alone."""

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        return input[-1], input[-1]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Linear(1, 3), "network=Linear: must be called as output, h_n = rnn"),
        (lambda: nn.TransformerEncoderLayer(1, 1), "but returned a Tensor"),
        (lambda: Images(1, 1), r"its state must be a tensor \(L, B, H\).* not of shape \(32, 3, 4, 4\)"),
        (lambda: Last(1, 1), "must return the output of every step"),
        (lambda: 7, "network=int: must be a recurrent"),
        (lambda: nn.GRU(2, 3), "sequences have 1 features: must be 2"),
        (lambda: nn.GRUCell(2, 3), "sequences have 1 features: must be 2"),
        (lambda: nn.GRU(1, 3).requires_grad_(False), "network=GRU: .* require a gradient"),
        (lambda: nn.utils.weight_norm(nn.GRU(1, 3), "weight_hh_l0"), "must not be computed in a hook"),
    ],
)
def test_what_can_not_be_driven_is_named_in_one_line(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        warmup(make(), torch.randn(5, 32, 1), steps=1)
    assert "\n" not in str(caught.value)


def test_sequences_that_are_not_finite_are_refused_where_they_are_read() -> None:
    sequences = torch.randn(5, 32, 1)
    sequences[3:] = torch.nan
    with pytest.raises(ValueError, match="sequences have NaN"):
        multistability(nn.GRU(1, 3), sequences, steps=2)
    assert multistability(nn.GRU(1, 3), sequences, torch.full((32,), 3), steps=2).vaa > 0
