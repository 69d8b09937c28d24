"""Reachable states and settling, against slow loops and maps whose equilibria are known."""

from __future__ import annotations

import pytest
import torch
from known_maps import Map
from torch import Tensor, nn

from lightning_warmup.cells import BRC, GRU, LSTM, NBRC
from lightning_warmup.dynamics.functional import at_rest, vaa
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.dynamics.portraits import portrait
from lightning_warmup.dynamics.reachable import join_states, reachable_states, run_constant, split_states
from lightning_warmup.dynamics.settling import settle
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.double import DoubleLayer
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.recurrent import RecurrentNetwork

NETWORKS = {
    "torch LSTM, 2 layers": lambda: nn.LSTM(2, 5, num_layers=2),
    "torch LSTM with projection": lambda: nn.LSTM(2, 5, proj_size=3),
    "torch GRU, 2 layers, no bias": lambda: nn.GRU(2, 5, num_layers=2, bias=False),
    "torch RNN with relu": lambda: nn.RNN(2, 5, nonlinearity="relu"),
    "our GRU": lambda: GRU(2, 5),
    "our LSTM": lambda: LSTM(2, 5),
    "a stack": lambda: RecurrentNetwork(2, 6, 1, num_layers=2, cell="nbrc"),
    "a double stack": lambda: RecurrentNetwork(2, 6, 1, 2, "lstm", double=True, silent=False),
    "a stack with a memory": lambda: RecurrentNetwork(2, 6, 1, 2, "lstm", double=True),
    "a list of layers": lambda: [nn.GRU(2, 5), nn.LSTM(5, 4)],
}


def slow_states(layers, sequences: Tensor, lengths: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """One sequence at a time."""
    rows = []
    for column, length in enumerate(lengths.tolist()):
        output, states = sequences[:length, column : column + 1], []
        for layer in layers:
            output, state = layer.run(output, None)
            states.append(flatten_state(state))
        rows.append(states)
    return [torch.cat(states) for states in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", NETWORKS)
def test_reachable_states_are_those_of_sequences_run_one_by_one(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    modules = network if isinstance(network, list) else [network]
    for module in modules:
        module.double()
    layers = layers_of(network)
    sequences = torch.randn(9, 6, 2, dtype=torch.float64)
    lengths = torch.tensor([3, 9, 1, 3, 7, 2])
    expected = slow_states(layers, sequences, lengths)
    found = [flatten_state(state) for state in reachable_states(layers, sequences, lengths)]
    for state, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(state, reference, rtol=1e-12, atol=1e-12)
    weights = [p for layer in layers for p in layer.warmed + layer.frozen if p.requires_grad]
    gradients = torch.autograd.grad(sum(state.sin().sum() for state in found), weights)
    references = torch.autograd.grad(sum(state.sin().sum() for state in expected), weights)
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-11)


def test_torch_layers_are_driven_as_torch_drives_them() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True)
    sequences = torch.randn(5, 7, 3)
    output, (h_n, c_n) = lstm(sequences)
    layers = layers_of(lstm)
    driven = sequences.transpose(0, 1)
    for index, layer in enumerate(layers):
        driven, state = layer.run(driven, None)
        torch.testing.assert_close(flatten_state(state), torch.cat([h_n[index], c_n[index]], dim=1))
    torch.testing.assert_close(driven.transpose(0, 1), output)


@pytest.mark.parametrize("lengths", [[0, 1], [1, 8], [1]])
def test_lengths_outside_the_sequences_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        reachable_states(layers_of(nn.GRU(1, 2)), torch.zeros(7, 2, 1), torch.tensor(lengths))


def test_bidirectional_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="bidirectional"):
        layers_of(nn.LSTM(1, 2, bidirectional=True))


@pytest.mark.parametrize("steps", [1, 2, 23, 24, 25, 400, 2999])
@pytest.mark.parametrize("cell", [GRU, LSTM, BRC, NBRC])
def test_an_early_stop_does_not_change_where_states_settle(cell: type[nn.Module], steps: int) -> None:
    torch.manual_seed(1)
    layers = layers_of([cell(1, 16), cell(16, 16)])
    sequences = 2 * torch.randn(20, 32, 1)
    states = reachable_states(layers, sequences, torch.randint(1, 21, (32,)))
    constant = torch.randn(1, 1).expand(32, 1)
    settled, moved = settle(layers, states, constant, steps)
    with torch.no_grad():
        full = run_constant(layers, constant, states, steps)[1]
        ahead = run_constant(layers, constant, full, 1)[1]
    reference = torch.cat([flatten_state(state) for state in full], dim=1)
    reference_moved = torch.cat([flatten_state(state) for state in ahead], dim=1)
    torch.testing.assert_close(settled, reference, rtol=0, atol=1e-5)
    assert torch.equal(at_rest(settled, moved), at_rest(reference, reference_moved))
    assert float(vaa(settled)) == float(vaa(reference))


def test_a_contraction_stops_early() -> None:
    calls = []

    def halve(state: Tensor) -> Tensor:
        calls.append(1)
        return state / 2 + 1

    settled, _ = settle(layers_of(Map(halve, 1)), [torch.randn(1, 4, 1)], torch.zeros(4, 1), 100_000)
    assert len(calls) < 200
    torch.testing.assert_close(settled, torch.full((4, 1), 2.0))


def test_a_slow_drift_runs_all_its_steps() -> None:
    settled, moved = settle(
        layers_of(Map(lambda state: state + 1e-6, 1)),
        [torch.zeros(1, 1, 1, dtype=torch.float64)],
        torch.zeros(1, 1),
        5000,
    )
    assert float(settled) == pytest.approx(5e-3)
    assert bool(at_rest(settled, moved))


@pytest.mark.parametrize("steps", [7, 100, 101, 2999])
def test_a_cycle_is_left_in_the_phase_it_has_at_the_end(steps: int) -> None:
    settled, moved = settle(layers_of(Map(torch.neg, 1)), [torch.ones(1, 1, 1)], torch.zeros(1, 1), steps)
    assert float(settled) == (-1) ** steps
    assert not bool(at_rest(settled, moved))


@pytest.mark.parametrize("steps", [9_999, 10_000])
@pytest.mark.parametrize("period", [5, 16, 48])
def test_a_cycle_of_any_period_is_left_in_its_phase(period: int, steps: int) -> None:
    def advance(state: Tensor) -> Tensor:
        return (state + 1) % period

    settled, _ = settle(layers_of(Map(advance, 1)), [torch.zeros(1, 1, 1)], torch.zeros(1, 1), steps)
    assert float(settled) == steps % period


def test_a_bistable_map_has_two_equilibria_at_rest() -> None:
    """h -> tanh(2 h) has two stable equilibria; a unit that never left 0 stays at the unstable one."""
    network = Map(lambda state: torch.tanh(2 * state), 1)
    states = [torch.tensor([-1.0, -0.5, 0.5, 1.0]).reshape(1, 4, 1)]
    settled, moved = settle(layers_of(network), states, torch.zeros(4, 1), 2000)
    assert float(vaa(settled)) == pytest.approx(2 / 4)
    assert bool(at_rest(settled, moved).all())


def test_a_rotation_is_never_at_rest_however_many_states_it_holds_apart() -> None:
    angle = torch.tensor(1.0)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    network = Map(lambda state: state @ turn, 2)
    states = [torch.randn(1, 16, 2)]
    settled, moved = settle(layers_of(network), states, torch.zeros(16, 1), 1000)
    assert float(vaa(settled)) == 1.0
    assert not bool(at_rest(settled, moved).any())


@pytest.mark.parametrize("cell", ["gru", "lstm", "mgu", "rnn"])
def test_standard_cells_are_monostable_at_initialisation(cell: str) -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(1, 32, 1, num_layers=2, cell=cell)
    measured = multistability(network, torch.randn(50, 32, 1), steps=2000, draws=2)
    assert measured.vaa == pytest.approx(1 / 32)
    assert measured.resting_fraction == 1.0
    assert measured.resting_vaa == pytest.approx(1 / 32)


def test_bistable_cells_are_multistable_at_initialisation() -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(1, 32, 1, cell="brc")
    assert multistability(network, torch.randn(50, 32, 1), steps=2000, draws=2).vaa > 0.3


def test_an_affine_network_has_one_equilibrium() -> None:
    torch.manual_seed(0)
    matrix = 0.9 * nn.init.orthogonal_(torch.empty(8, 8))
    network = Map(lambda state: state @ matrix + 1, 8)
    states = [torch.randn(1, 32, 8)]
    settled, _ = settle(layers_of(network), states, torch.zeros(32, 1), 2000)
    assert float(vaa(settled)) == pytest.approx(1 / 32)


def test_a_measurement_is_repeatable_and_respects_batch_first() -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(1, 8, 1, cell="brc", batch_first=True)
    sequences = torch.randn(16, 30, 1)
    first = multistability(network, sequences, steps=50)
    assert first == multistability(network, sequences, steps=50)
    network.batch_first = False
    assert first == multistability(network, sequences.transpose(0, 1), steps=50)


class WithDropout(nn.Module):
    """A GRU behind dropout, which nobody can split into layers."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.rnn = nn.Dropout(0.5), nn.GRU(1, 8)

    def forward(self, input: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.rnn(self.dropout(input), h_0)


def test_a_network_is_measured_in_eval_mode_and_left_in_its_own() -> None:
    torch.manual_seed(0)
    network, sequences = WithDropout(), torch.randn(20, 16, 1)
    network.rnn.eval()
    state = torch.get_rng_state()
    measured = multistability(network, sequences, steps=200)
    taken = portrait(network, sequences, steps=200)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == [True, True, False]
    assert measured == multistability(network.eval(), sequences, steps=200)
    assert measured.vaa == pytest.approx(1 / 16)
    assert taken.vaa[-1] == pytest.approx(1 / 16)
    network.train()
    # Layers know no module: they are measured as they are.
    assert multistability(layers_of(network), sequences, steps=200).vaa > 0.9
    with pytest.raises(ValueError, match="lengths"):
        multistability(network, sequences, torch.zeros(16, dtype=torch.int64))
    assert network.training


@pytest.mark.parametrize("name", NETWORKS)
def test_joined_states_are_split_again(name: str) -> None:
    layers = layers_of(NETWORKS[name]())
    states = reachable_states(layers, torch.randn(3, 4, 2), torch.tensor([1, 2, 3, 3]))
    joined = join_states(states)
    again = split_states(joined, states)
    assert [type(state) for state in again] == [type(state) for state in states]
    assert torch.equal(join_states(again), joined)
    assert torch.equal(join_states(split_states(joined[:2], states)), joined[:2])


def test_whole_prefixes_are_used_where_lengths_are_given() -> None:
    network = Map(lambda state: state + 1, 1)
    sequences = torch.zeros(5, 3, 1)
    states = reachable_states(layers_of(network), sequences, torch.tensor([5, 2, 4]))
    assert flatten_state(states[0]).flatten().tolist() == [5, 2, 4]
    assert multistability(network, sequences, torch.tensor([5, 5, 5]), steps=3).vaa == pytest.approx(1 / 3)


def test_the_first_half_of_a_double_layer_is_what_is_warmed() -> None:
    torch.manual_seed(0)
    layer = DoubleLayer("lstm", 2, 6)
    (driven,) = layers_of(layer)
    _, state = driven.run(torch.randn(4, 3, 2), None)
    _, (h, c) = layer.first(torch.randn(4, 3, 2))
    part = driven.part(state)
    assert [tensor.shape for tensor in part] == [h.shape, c.shape]
    assert {id(p) for p in driven.warmed} == {id(p) for p in layer.first.parameters()}
    assert {id(p) for p in driven.frozen} == {id(p) for p in layer.second.parameters()}


@pytest.mark.parametrize("module", [nn.LSTM(3, 5, num_layers=2), nn.GRU(3, 5), LSTM(3, 5), GRU(3, 5)])
def test_sequences_with_another_number_of_features_are_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match="1 features: must be 3"):
        multistability(module, torch.randn(6, 4, 1), steps=5)
    with pytest.raises(ValueError, match=r"of type torch.int64: must be floating-point"):
        multistability(module, torch.zeros(5, 4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="must be a tensor of 3 axes"):
        multistability(module, torch.randn(6, 3), steps=5)
