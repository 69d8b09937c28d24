"""Cells and modules of others: what is driven, and what is refused in one line."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_warmup import Unrolled, find_network, layers_of, multistability, vaa, warmup
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.observed import watch


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


class Held(NamedTuple):
    h: Tensor
    c: Tensor


class Named(nn.Module):
    """A recurrent module whose state is a named tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(2, 8)

    def forward(self, input: Tensor, state: Held | None = None) -> tuple[Tensor, Held]:
        output, new = self.rnn(input, None if state is None else (state.h, state.c))
        return output, Held(*new)


def test_a_state_may_be_a_named_tuple() -> None:
    torch.manual_seed(0)
    module, sequences = Named(), torch.randn(20, 64, 2)
    (layer,) = layers_of(module)
    output, _ = layer.run(sequences, None)
    _, state = layer.run(sequences[:9], None)
    torch.testing.assert_close(layer.run(sequences[9:], state)[0], output[9:])
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


class Leaky(nn.GRU):
    """Halves its state before every step."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outputs = []
        for step in x.split(1):
            _, h = super().forward(step, None if h is None else h / 2)
            outputs.append(h[-1])
        return torch.stack(outputs), h


class Swapped(nn.GRU):
    """Takes sequences batch first, though its ``batch_first`` says no."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, h = super().forward(x.transpose(0, 1), h)
        return output.transpose(0, 1), h


class Called(nn.Module):
    """Any module by its call alone."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.rnn(input, state)


def hooked(hook: Any) -> nn.Module:
    rnn = nn.GRU(1, 16, num_layers=2)
    rnn.register_forward_pre_hook(hook)
    return rnn


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: Leaky(1, 16, num_layers=2),
        lambda: hooked(lambda module, args: (args[0].tanh(), *args[1:])),
        lambda: nn.utils.weight_norm(nn.GRU(1, 16), "weight_hh_l0"),
    ],
    ids=["its own forward", "a hook", "weights of a hook"],
)
def test_what_is_measured_and_warmed_up_is_the_call(make: Any) -> None:
    torch.manual_seed(0)
    rnn, twin, sequences = make(), make(), torch.randn(20, 64, 1)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(2)
        twin.load_state_dict(rnn.state_dict())
        _, state = rnn(sequences)
        _, state = rnn(torch.ones(60, 64, 1), state)
    lengths = torch.full((64,), 20)
    found = multistability(rnn, sequences, lengths, steps=60, draws=1, constant_inputs=torch.ones(1, 1))
    assert found.vaa == pytest.approx(float(vaa(flatten_state(state))))
    assert warmup(rnn, sequences, steps=3) == warmup(Called(twin), sequences, steps=3)


def test_hooks_that_only_look_leave_a_network_to_be_driven_layer_by_layer() -> None:
    rnn = nn.GRU(1, 4, num_layers=2)
    handle = watch(rnn, lambda input: None)
    assert len(layers_of(rnn)) == 2
    handle.remove()
    rnn.register_forward_hook(lambda module, args, result: None)
    assert len(layers_of(rnn)) == 1


@pytest.mark.parametrize("count", [6, 20])
def test_swapped_axes_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="is its batch_first=False true") as caught:
        multistability(Swapped(1, 4), torch.randn(20, count, 1), torch.full((count,), 20), steps=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [list, nn.ModuleList])
def test_layers_of_a_list_say_how_sequences_lie(kind: Any) -> None:
    torch.manual_seed(0)
    whole, sequences = nn.GRU(2, 8, num_layers=2), torch.randn(30, 40, 2)
    layers = [nn.GRU(2, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)]
    for index, layer in enumerate(layers):
        for name, parameter in layer.named_parameters():
            parameter.data.copy_(getattr(whole, name.replace("l0", f"l{index}")))
    measured = multistability(kind(layers), sequences.transpose(0, 1), steps=50)
    assert measured == multistability(whole, sequences, steps=50)
    warmed = warmup(kind(layers), sequences.transpose(0, 1), steps=2)
    assert warmed[1].loss == pytest.approx(warmup(whole, sequences, steps=2)[1].loss, rel=1e-5)


def test_layers_of_a_list_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_first=\[True, False\]: must be the same"):
        warmup([nn.GRU(1, 4, batch_first=True), nn.GRU(4, 4)], torch.randn(9, 32, 1), steps=1)


class Borrowed(nn.Module):
    """Sets the weights of its layer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, 3)
        self.raw = nn.Parameter(self.rnn.weight_hh_l0.detach().clone())
        del self.rnn.weight_hh_l0
        self.rnn.weight_hh_l0 = self.raw * 1


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
        (lambda: nn.GRU(1, 3).requires_grad_(False), "network=GRU: must be able to move: unfreeze it"),
        (lambda: Borrowed().rnn, "its weights must be its own parameters"),
    ],
)
def test_what_can_not_be_driven_is_named_in_one_line(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        warmup(make(), torch.randn(5, 32, 1), steps=1)
    assert "\n" not in str(caught.value)


def test_sequences_that_are_not_finite_are_refused_where_they_are_read() -> None:
    sequences = torch.randn(5, 32, 1)
    sequences[3:] = torch.nan
    with pytest.raises(ValueError, match=r"^sequences: must be finite, .* in 32 of 32$"):
        multistability(nn.GRU(1, 3), sequences, steps=2)
    assert multistability(nn.GRU(1, 3), sequences, torch.full((32,), 3), steps=2).vaa > 0
