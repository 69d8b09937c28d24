"""A memory at the side of a plain network: silent at first, in the place of torch's layers."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from lightning_warmup import (
    Published,
    RecurrentNetwork,
    SideMemory,
    find_network,
    layers_of,
    multistability,
    warmup,
)
from lightning_warmup.cells import cell_names
from lightning_warmup.engine.state import map_state

every_cell = pytest.mark.parametrize("cell", cell_names())
every_depth = pytest.mark.parametrize("num_layers", [1, 3])


class Plain(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.rnn(x, state)


def heard(cell: str, num_layers: int = 2, **settings: Any) -> SideMemory:
    """A memory that training has taken up."""
    torch.manual_seed(0)
    rnn = SideMemory(cell, 3, 8, num_layers, **settings)
    for gain in rnn.gains:
        nn.init.normal_(gain)
    return rnn


@every_depth
@every_cell
@pytest.mark.parametrize("hidden_size", [6, 64])
@pytest.mark.parametrize("gradient", [False, True])
def test_a_network_starts_as_the_plain_one_to_the_last_bit(
    cell: str, num_layers: int, hidden_size: int, gradient: bool
) -> None:
    torch.manual_seed(0)
    double = RecurrentNetwork(3, hidden_size, 4, num_layers, cell, double=True)
    plain = RecurrentNetwork(3, hidden_size // 2, 4, num_layers, cell)
    plain.layers.load_state_dict(double.layers.plain.state_dict())
    with torch.no_grad():
        plain.readout.weight.copy_(double.readout.weight[:, hidden_size // 2 :])
        plain.readout.bias.copy_(double.readout.bias)
        for parameter in double.layers.memory.parameters():
            parameter.mul_(3)
    for shape in ((1, 1, 3), (7, 5, 3), (60, 32, 3)):
        x, read_at = torch.randn(shape), torch.tensor([shape[0] - 1, 0])
        with torch.set_grad_enabled(gradient):
            assert torch.equal(double(x)[0], plain(x)[0])
            assert torch.equal(double(x, read_at=read_at)[0], plain(x, read_at=read_at)[0])


@every_depth
def test_training_takes_the_memory_up(num_layers: int) -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(3, 8, 4, num_layers, double=True)
    assert isinstance(network.layers, SideMemory)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for moved in (False, True):
        optimizer.zero_grad()
        network(torch.randn(9, 4, 3))[0].square().mean().backward()
        assert all((gain.grad != 0).all() for gain in network.layers.gains)
        gradients = [weight.grad for weight in network.layers.memory.parameters()]
        assert all(bool((gradient != 0).any()) == moved for gradient in gradients)
        optimizer.step()


@every_depth
@every_cell
def test_a_warmup_moves_the_memory_alone(cell: str, num_layers: int) -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"rnn": SideMemory(cell, 3, 8, num_layers), "head": nn.Linear(8, 1)})
    rnn = find_network(module)
    assert rnn is module["rnn"]
    before = copy.deepcopy(rnn.state_dict())
    moved = warmup(rnn, torch.randn(9, 32, 3), objective=Published(steps=2, extension=1)).kept > 0
    for name, value in rnn.state_dict().items():
        assert torch.equal(value, before[name]) != (moved and name.startswith("memory")), name
    assert all(p.grad is None and p.requires_grad for p in rnn.parameters())


class Renamed(SideMemory):
    def forward(self, input: Any, state: Any = None) -> Any:
        return super().forward(input, state)


def looked_at() -> SideMemory:
    rnn = SideMemory("gru", 3, 8, 2)
    rnn.register_forward_hook(lambda *_: None)  # as a profiler does
    return rnn


@pytest.mark.parametrize(
    "make",
    [
        looked_at,
        lambda: Renamed("gru", 3, 8, 2),
        lambda: Plain(SideMemory("gru", 3, 8, 2)),
        lambda: Plain(Plain(SideMemory("gru", 3, 8, 2))),
        lambda: torch.compile(SideMemory("gru", 3, 8, 2), backend="eager"),
    ],
    ids=["a hook", "its own forward", "inside a module", "inside two", "compiled"],
)
def test_a_warmup_moves_the_memory_alone_however_it_is_called(make: Any) -> None:
    torch.manual_seed(0)
    rnn = make()
    before = copy.deepcopy(rnn.state_dict())
    assert warmup(rnn, torch.randn(9, 32, 3), objective=Published(steps=2, extension=1)).kept > 0
    moved = [name for name, value in rnn.state_dict().items() if not torch.equal(value, before[name])]
    assert len(layers_of(rnn)) == (1 if isinstance(rnn, Plain | Renamed) else 2)
    assert moved == [name for name in before if "memory." in name]


def test_an_upper_memory_hears_the_lower_one() -> None:
    torch.manual_seed(0)
    rnn, x = SideMemory("gru", 3, 8, 2), torch.randn(9, 4, 3)
    lower, upper = layers_of(rnn)
    below, _ = lower.run(x, None)
    changed = torch.cat([below[..., :4] + 1, below[..., 4:]], -1)
    one, other = upper.run(below, None)[0], upper.run(changed, None)[0]
    assert not torch.isclose(one[..., :4], other[..., :4]).any()
    assert torch.equal(one[..., 4:], other[..., 4:])
    warmed = upper.part(upper.run(below, None)[1])
    torch.testing.assert_close(warmed[0], one[-1, :, :4])


@every_cell
def test_the_layers_lead_to_the_states_of_the_call(cell: str) -> None:
    rnn, x = heard(cell), torch.randn(9, 4, 3)
    _, h_n = rnn(x)
    found = []
    for layer in layers_of(rnn):
        x, state = layer.run(x, None)
        found.append(state)
    torch.testing.assert_close(map_state(lambda *parts: torch.cat(parts), *found), h_n)


@every_cell
def test_the_memory_runs_alone_as_it_does_beside_the_plain_network(cell: str) -> None:
    x = torch.randn(9, 4, 3)
    for layer in layers_of(heard(cell)):
        assert layer.alone is not None
        state = layer.run(x, None)[1]
        again = torch.randn(5, 4, x.shape[2])
        alone, beside = layer.alone.run(again, layer.part(state)), layer.run(again, state)
        torch.testing.assert_close(alone[1], layer.part(beside[1]), rtol=0, atol=0)
        x = layer.run(x, None)[0]


@every_cell
def test_it_has_torchs_call(cell: str) -> None:
    rnn, x = heard(cell), torch.randn(7, 4, 3)
    output, h_n = rnn(x)
    assert output.shape == (7, 4, 8)
    for tensor in h_n if isinstance(h_n, tuple) else (h_n,):
        assert tensor.shape == (2, 4, 8)
    first, state = rnn(x[:3])
    second, last = rnn(x[3:], state)
    torch.testing.assert_close((torch.cat([first, second]), last), (output, h_n))

    alone = rnn(x[:3, 1])
    torch.testing.assert_close(alone[1], map_state(lambda h: h[:, 1], state))
    alone = rnn(x[3:, 1], alone[1])
    torch.testing.assert_close(alone, (output[3:, 1], map_state(lambda h: h[:, 1], h_n)))

    some = map_state(lambda h: h[:, [2, 0]], state)  # as beam search and recurrent policies slice states
    torch.testing.assert_close(rnn(x[3:, [2, 0]], some)[0], output[3:, [2, 0]])

    other = heard(cell, batch_first=True)
    found = other(x.transpose(0, 1))
    torch.testing.assert_close((found[0].transpose(0, 1), found[1]), (output, h_n))


@every_cell
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_packed_sequences_are_those_sequences_one_by_one(
    cell: str, batch_first: bool, is_sorted: bool
) -> None:
    rnn, x = heard(cell, batch_first=batch_first), torch.randn(5, 9, 3)
    lengths = torch.tensor([9, 5, 5, 2, 1] if is_sorted else [5, 1, 9, 5, 2])
    h_0 = map_state(torch.randn_like, rnn(x if batch_first else x.transpose(0, 1))[1])
    given = x if batch_first else x.transpose(0, 1)
    packed = pack_padded_sequence(given, lengths, batch_first, enforce_sorted=is_sorted)
    output, h_n = rnn(packed, h_0)
    padded, counts = pad_packed_sequence(output, batch_first=True)
    assert torch.equal(counts, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, last = rnn(x[row, :length], map_state(lambda h, r=row: h[:, r], h_0))
        torch.testing.assert_close(padded[row, :length], alone)
        torch.testing.assert_close(map_state(lambda h, r=row: h[:, r], h_n), last)
    torch.testing.assert_close(rnn(packed)[1], rnn(packed, map_state(torch.zeros_like, h_0))[1])


@every_cell
@every_depth
def test_the_last_output_is_read_from_the_states(cell: str, num_layers: int) -> None:
    rnn, x = heard(cell, num_layers), torch.randn(5, 9, 3)
    lengths = torch.tensor([5, 1, 9, 5, 2])
    output, h_n = rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    padded, _ = pad_packed_sequence(output)
    torch.testing.assert_close(rnn.last_output(h_n), padded[lengths - 1, torch.arange(5)])
    silent = SideMemory(cell, 3, 8, num_layers)
    _, h_n = silent(x)
    assert (silent.last_output(h_n)[:, :4] == 0).all()


@every_cell
def test_it_is_handled_as_torchs_layers_are(cell: str) -> None:
    rnn, x = heard(cell), torch.randn(7, 4, 3)
    output, h_n = rnn(x[:3])
    assert not rnn.bidirectional
    rnn.flatten_parameters()
    states = list(h_n) if isinstance(h_n, tuple) else h_n
    torch.testing.assert_close(rnn(x[3:], hx=states), rnn(x[3:], h_n))
    rnn.reset_parameters()
    assert all((gain == 0).all() for gain in rnn.gains)
    assert not torch.equal(rnn(x[:3])[0][..., 4:], output[..., 4:])


@every_cell
def test_a_compiled_network_computes_the_same(cell: str) -> None:
    rnn, x = heard(cell, 1), torch.randn(7, 4, 3)
    expected = torch.autograd.grad(rnn(x)[0].square().sum(), list(rnn.parameters()))
    compiled = torch.compile(lambda x: rnn(x)[0].square().sum(), backend="eager")
    found = torch.autograd.grad(compiled(x), list(rnn.parameters()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_states_of_another_shape_are_refused(cell: str) -> None:
    rnn, x = heard(cell), torch.randn(7, 4, 3)
    _, h_n = rnn(x)
    count = len(h_n) if isinstance(h_n, tuple) else 1
    packed = pack_padded_sequence(x, torch.tensor([7, 7, 3, 2]))
    for wrong, shape in (
        (lambda h: torch.cat([h, h]), (4, 4, 8)),
        (lambda h: h[:1], (1, 4, 8)),
        (lambda h: h[:, :3], (2, 3, 8)),
        (lambda h: h[..., :4], (2, 4, 4)),
    ):
        said = re.escape(f"hx has shapes {[shape] * count}: must be (2, 4, 8) each")
        for input in (x, packed):
            with pytest.raises(ValueError, match=said):
                rnn(input, map_state(wrong, h_n))
    with pytest.raises(ValueError, match=re.escape("must be (2, 8) each")):
        rnn(x[:, 0], h_n)


def test_dropout_is_that_of_torchs_layers() -> None:
    torch.manual_seed(0)
    rnn, x = SideMemory("gru", 3, 64, 2, dropout=0.5), torch.randn(7, 4, 3)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])
    torch.manual_seed(0)
    one = SideMemory("gru", 3, 64, dropout=1.0)
    assert one(x)[0].any()  # above the last layer, and below the first one, there is none
    all_dropped = SideMemory("gru", 3, 64, 2, dropout=1.0)
    assert torch.equal(all_dropped(x)[0], all_dropped(x * 2)[0])


@every_cell
def test_biases_and_precision_are_chosen(cell: str) -> None:
    rnn = SideMemory(cell, 3, 8, 2, bias=False, dtype=torch.float64)
    assert not any("bias" in name for name, _ in rnn.named_parameters())
    output, h_n = rnn(torch.randn(5, 4, 3, dtype=torch.float64))
    assert {tensor.dtype for tensor in (output, *(h_n if isinstance(h_n, tuple) else (h_n,)))} == {
        torch.float64
    }
    assert SideMemory(cell, 3, 8, device="meta").gains[0].is_meta


@every_cell
def test_copies_and_files(cell: str) -> None:
    rnn, x = heard(cell), torch.randn(7, 4, 3)
    loaded = SideMemory(cell, 3, 8, 2)
    loaded.load_state_dict(rnn.state_dict())
    for other in (copy.deepcopy(rnn), loaded):
        torch.testing.assert_close(other(x), rnn(x), rtol=0, atol=0)


@every_cell
def test_autocast(cell: str) -> None:
    rnn, x = heard(cell), torch.randn(7, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        output, h_n = rnn(x.bfloat16())
        assert output.dtype == (h_n if isinstance(h_n, Tensor) else h_n[0]).dtype
        output.square().mean().backward()
    torch.testing.assert_close(output.float(), rnn(x)[0], rtol=0.1, atol=0.1)
    assert all(torch.isfinite(p.grad).all() for p in rnn.parameters() if p.grad is not None)


@every_cell
def test_export(cell: str) -> None:
    rnn, x = heard(cell).eval(), torch.randn(5, 4, 3)
    state = rnn(x)[1]
    exported = torch.export.export(Plain(rnn), (x, state)).module()
    torch.testing.assert_close(exported(x, state), rnn(x, state))


@every_cell
def test_checkpointing_computes_it_again(cell: str) -> None:
    x, gradients = torch.randn(5, 4, 3), []
    for again in (False, True):
        rnn = heard(cell)  # whose first call tries the step
        output, _ = checkpoint(rnn, x, use_reentrant=False) if again else rnn(x)
        output.square().mean().backward()
        gradients.append([parameter.grad for parameter in rnn.parameters()])
    torch.testing.assert_close(*gradients)


def test_a_warmed_memory_holds_what_it_reads() -> None:
    torch.manual_seed(0)
    rnn, x = SideMemory("gru", 1, 32), torch.randn(20, 64, 1)
    before = multistability(rnn, x, steps=100)
    warmup(rnn, x, objective=Published(steps=80, extension=1, max_stabilization=80))
    assert before.vaa < 0.1
    assert multistability(rnn, x, steps=100).vaa > 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gru", 1, 7), "hidden_size=7: must be even"),
        (("gru", 1, -2), "hidden_size=-2: must be even and positive"),
        (("gru", 1, 8, 0), "num_layers=0: must be at least 1"),
        (("gruu", 1, 8), "cell='gruu': choose one of"),
    ],
)
def test_refusals(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SideMemory(*arguments)
