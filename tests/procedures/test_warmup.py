"""The warmup procedure: what it reaches, what it moves, and what it refuses."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lightning_warmup import warmup
from lightning_warmup.dynamics.functional import vaa_star
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures import schedules
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.result import WarmupDiverged, WarmupResult
from lightning_warmup.procedures.warmup import warmup_steps


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


@pytest.mark.parametrize(
    "make", [lambda: nn.GRU(1, 32), lambda: nn.LSTM(1, 64), lambda: RecurrentNetwork(1, 24, 1, cell="mgu")]
)
def test_a_warmup_makes_a_monostable_network_multistable(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network, sequences = make(), torch.randn(20, 256, 1)
    before = multistability(network, sequences[:, :32], steps=200, draws=1)
    history = warmup(network, sequences)
    after = multistability(network, sequences[:, :32], steps=200, draws=1)
    assert before.vaa == pytest.approx(1 / 32)
    assert after.vaa > 0.8
    assert history[99].attempt == 1
    assert max(step.stabilization for step in history[20:100]) > 150


def test_the_stabilisation_follows_its_ramp() -> None:
    history = warmup(
        nn.GRU(1, 4), torch.randn(10, 64, 1), objective=Published(steps=24, max_stabilization=60)
    )
    assert history[0].stabilization == 1
    for step in history:
        assert 1 <= step.stabilization <= min(1 + 10 * step.step, 60)
    assert max(step.stabilization for step in history) > 40


def test_the_first_step_has_the_loss_and_the_gradient_of_the_definition() -> None:
    """One sequence at a time, one stabilisation step, written out."""
    torch.manual_seed(0)
    network = nn.GRU(1, 6, num_layers=2)
    sequences = torch.randn(12, 32, 1)
    reference = copy.deepcopy(network)
    first = warmup(network, sequences, steps=1, seed=5)[0]

    order = torch.randperm(32, generator=torch.Generator().manual_seed(5))
    draws = torch.Generator().manual_seed(5)
    torch.randint(1, 2, (), generator=draws)  # the stabilisation, 1
    cuts = torch.randint(1, 13, (32,), generator=draws)
    states = torch.cat(
        [reference(sequences[:cut, row : row + 1])[1] for cut, row in zip(cuts, order, strict=True)], 1
    )
    losses = []
    for layer in range(2):
        constant = torch.randn(6 if layer else 1, generator=draws)
        cell = nn.GRUCell(6 if layer else 1, 6)
        weights = [getattr(reference, name) for name in reference._all_weights[layer]]
        settled = torch.gru(
            constant.expand(1, 32, -1), states[layer : layer + 1], weights, True, 1, 0.0, True, False, False
        )[1]
        assert cell.hidden_size == settled.shape[2]
        losses.append((vaa_star(settled[0]) - 0.95) ** 2)
    loss = torch.stack(losses).mean()
    loss.backward()
    assert first.loss == pytest.approx(float(loss), rel=1e-4)
    norm = torch.nn.utils.get_total_norm([p.grad for p in reference.parameters()])
    assert first.gradient_norm == pytest.approx(float(norm), rel=1e-3)


def test_the_second_half_does_not_move_unless_asked() -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(1, 8, 1, num_layers=2, cell="gru", double=True, silent=False)
    sequences = torch.randn(20, 32, 1)
    for leaky in (False, True):
        before = state_of(network)
        warmup(network, sequences, steps=3, leaky=leaky)
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        halves = {name.split(".")[2] for name in moved}
        assert halves == ({"first", "second"} if leaky else {"first"})
        assert not any(name.startswith("readout") for name in moved)
        assert not any(name.startswith("layers.1.second") for name in moved)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_warmup_is_repeatable_and_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(0)
    first, sequences = nn.GRU(1, 8), torch.randn(15, 64, 1)
    second = copy.deepcopy(first)
    stream = torch.get_rng_state()
    assert warmup(first, sequences, steps=5) == warmup(second, sequences, steps=5)
    assert torch.equal(stream, torch.get_rng_state())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.grad is None


def test_batch_first_sequences_mean_the_same() -> None:
    torch.manual_seed(0)
    time_first, sequences = nn.LSTM(1, 8), torch.randn(15, 64, 1)
    batch_first = nn.LSTM(1, 8, batch_first=True)
    batch_first.load_state_dict(time_first.state_dict())
    histories = (
        warmup(time_first, sequences, steps=3),
        warmup(batch_first, sequences.transpose(0, 1), steps=3),
    )
    for one, other in zip(*histories, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_only_the_prefixes_are_used_where_lengths_are_given() -> None:
    """What comes after the end of a history is no number at all."""
    torch.manual_seed(0)
    sequences, lengths = torch.randn(15, 64, 3), torch.randint(1, 16, (64,))
    sequences[torch.arange(15)[:, None] >= lengths] = torch.nan
    history = warmup(nn.GRU(3, 8), sequences, lengths, steps=3)
    assert all(step.loss == step.loss for step in history)


def test_too_few_batches_are_said() -> None:
    with pytest.raises(ValueError, match="steps=3: there are only 1 batches"):
        list(warmup_steps(nn.GRU(1, 4), [(torch.randn(5, 8, 1), None)], WarmupPlan(Published(steps=3))))


def test_a_network_in_evaluation_mode_stays_in_it() -> None:
    network = nn.GRU(1, 4, num_layers=2, dropout=0.5).eval()
    warmup(network, torch.randn(5, 32, 1), steps=1)
    assert not network.training


def test_upper_layers_of_a_projected_lstm_take_its_projection() -> None:
    assert len(warmup(nn.LSTM(1, 16, num_layers=2, proj_size=4), torch.randn(5, 32, 1), steps=2)) == 2


def test_a_diverging_warmup_names_step_and_learning_rate() -> None:
    with pytest.raises(WarmupDiverged, match=r"step \d+ with lr=3e\+37.*nan"):
        warmup(nn.GRU(1, 4), torch.randn(5, 32, 1), steps=20, lr=3e37)


def test_a_network_that_explodes_by_itself_is_not_told_to_take_a_smaller_step() -> None:
    network = nn.RNN(1, 4, nonlinearity="relu")
    with torch.no_grad():
        network.weight_hh_l0.fill_(1e3)
    with pytest.raises(
        WarmupDiverged, match=r"at step 0 .*; no step has been taken: the network as it is lets"
    ):
        warmup(network, torch.randn(30, 32, 1), steps=2)


def test_sequences_that_are_not_finite_are_named() -> None:
    with pytest.raises(
        ValueError,
        match=r"^sequences: must be finite, .* in 32 of 32 at warmup step 0$",
    ):
        warmup(nn.GRU(1, 4), torch.full((5, 32, 1), torch.nan), steps=2)


@pytest.mark.parametrize(
    "argument",
    [
        {"steps": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"batch_size": 0},
        {"batch_size": 1},
        {"lengths": torch.ones(31, dtype=torch.int64)},
        {"lengths": [5] * 32},
    ],
)
def test_bad_arguments_are_named(argument: dict[str, float]) -> None:
    name = next(iter(argument))
    with pytest.raises(ValueError, match=f"{name}="):
        warmup(nn.GRU(1, 4), torch.randn(5, 32, 1), **argument)  # type: ignore[arg-type]


def test_a_warmup_that_misses_its_goal_goes_on_until_it_reaches_it() -> None:
    torch.manual_seed(1)
    network, sequences = nn.RNN(1, 24), torch.randn(25, 256, 1)
    result = warmup(network, sequences, seed=1)
    attempts = [step.attempt for step in result]
    assert attempts[:101] == [1] * 100 + [2]
    assert result.goal_reached
    assert result.kept == result.attempts
    assert multistability(network, sequences[:, :64], steps=2000, draws=2).vaa > 0.9


def watched(
    network: nn.GRU,
    batches: list[tuple[torch.Tensor, None]],
    objective: Published,
    see: Callable[[int, torch.Tensor], object] = lambda *_: None,
) -> WarmupResult:
    """A warmup; ``see`` is shown the number of the attempt and the weights after each step."""
    steps = warmup_steps(network, batches, WarmupPlan(objective))
    while True:
        try:
            see(next(steps).attempt, network.weight_hh_l0.detach().clone())
        except StopIteration as end:
            return end.value


def found(value: float) -> Multistability:
    return Multistability(value, 0.0, 0.0, 0.0, (1.0,))


@pytest.mark.parametrize(
    ("figures", "kept"), [((0.2, 0.5, 0.3, 0.1), 2), ((0.2, 0.5, 0.3, 0.6), 0), ((0.2, 0.95), 2)]
)
def test_the_best_weights_are_kept(
    monkeypatch: pytest.MonkeyPatch, figures: tuple[float, ...], kept: int
) -> None:
    """The last figure is that of the weights from before, which are measured where all attempts miss the goal."""
    monkeypatch.setattr(schedules, "WORTHWHILE", 4)
    monkeypatch.setattr(schedules, "AFTER_PUBLISHED", 4)
    left = list(figures)
    monkeypatch.setattr("lightning_warmup.procedures.warmup.measure", lambda *_: found(left.pop(0)))
    torch.manual_seed(0)
    network = nn.GRU(1, 4)
    batches = [(torch.randn(6, 8, 1), None)] * 10
    weights = {0: network.weight_hh_l0.detach().clone()}
    result = watched(network, batches, Published(steps=2), weights.__setitem__)
    assert not left
    assert result.kept == kept
    assert result.vaa == pytest.approx(max(figures))
    assert result.goal_reached == (max(figures) > 0.9)
    assert torch.equal(network.weight_hh_l0, weights[kept])


def test_two_attempts_go_on_from_the_best_weights_and_the_next_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedules, "WORTHWHILE", 4)
    monkeypatch.setattr(schedules, "AFTER_PUBLISHED", 4)
    figures = iter([0.5, 0.2, 0.3, 0.1, 0.0])
    monkeypatch.setattr("lightning_warmup.procedures.warmup.measure", lambda *_: found(next(figures)))
    torch.manual_seed(0)
    network = nn.GRU(1, 4)
    begun, weights = network.weight_hh_l0.detach().clone(), list[tuple[int, torch.Tensor]]()
    batches = [(torch.randn(6, 8, 1), None)] * 16
    watched(network, batches, Published(steps=4, extension=4), lambda *seen: weights.append(seen))
    assert [attempt for attempt, _ in weights] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    for first, start in ((4, weights[3][1]), (8, weights[3][1]), (12, begun)):
        # Adam's first step moves a weight by the learning rate.
        assert float((weights[first][1] - start).abs().max()) == pytest.approx(0.01, rel=1e-3)


def test_further_attempts_end_with_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "WORTHWHILE", 1)
    monkeypatch.setattr("lightning_warmup.procedures.warmup.measure", lambda *_: found(0.1))
    network = nn.GRU(1, 4)
    result = watched(network, [(torch.randn(6, 8, 1), None)] * 3, Published(steps=2))
    assert [step.attempt for step in result] == [1, 1, 2]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert result.kept == 1


def test_states_that_overflow_are_no_equilibria() -> None:
    torch.manual_seed(0)
    network = nn.RNN(1, 24, nonlinearity="relu")
    with torch.no_grad():
        network.weight_hh_l0.mul_(9)
    measured = multistability(network, torch.randn(10, 16, 1))
    assert measured.vaa == pytest.approx(1 / 16)
    assert measured.resting_fraction == 0
    assert math.isfinite(measured.residual)


def test_a_batch_is_no_larger_than_the_number_of_sequences() -> None:
    sequences = torch.randn(6, 20, 1)
    networks = [nn.GRU(1, 4), nn.GRU(1, 4)]
    networks[1].load_state_dict(networks[0].state_dict())
    taken = [
        warmup(network, sequences, steps=2, batch_size=size)
        for network, size in zip(networks, (20, 99), strict=True)
    ]
    assert list(taken[0]) == list(taken[1])
    with pytest.raises(ValueError, match=r"^sequences=a tensor \(6, 1, 1\): must be at least 2 sequences"):
        warmup(nn.GRU(1, 4), sequences[:, :1])


def test_sequences_are_a_tensor_of_three_axes_whatever_it_was_computed_by() -> None:
    embedding = nn.Embedding(5, 3)
    assert len(warmup(nn.GRU(3, 4), embedding(torch.randint(5, (6, 32))), steps=2)) == 2
    assert embedding.weight.grad is None
    for wrong, found in ((torch.randn(6, 32), r"shape \(6, 32\)"), ([[[1.0]]], "type list")):
        with pytest.raises(ValueError, match=f"^sequences are of {found}: must be a tensor of 3 axes"):
            warmup(nn.GRU(3, 4), wrong)  # type: ignore[arg-type]
