"""The objective that asks for rest: its parts in closed form, what it reaches, and how training keeps it."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command import ROOT
from known_maps import Map
from stranger import Stranger, StrangersData, loader, trainer
from torch import nn

from lightning_warmup import Multistability, SideMemory, WarmupStage, multistability, warmup
from lightning_warmup.dynamics.measure import retained
from lightning_warmup.dynamics.reachable import run_constant, run_layers
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures import objectives
from lightning_warmup.procedures.objectives import Objective, SettledLayer, objective_by_name, objective_names
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.procedures.objectives.rest import Rest
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.regularize import add_gradient
from lightning_warmup.procedures.result import WarmupResult, WarmupStep
from lightning_warmup.procedures.schedules import Adaptive, Schedule, schedule_of
from lightning_warmup.procedures.stabilisation import settle_alone, settle_together, unrest
from lightning_warmup.procedures.warmup import warmup_steps


def test_unrest_is_the_logarithm_of_the_relative_move() -> None:
    states = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    assert float(unrest(states, states)) == 0.0
    assert float(unrest(states, states + torch.tensor([1.0, 0.0]))) == pytest.approx(1.0, abs=1e-6)
    assert float(unrest(states, states + torch.tensor([0.0, 4e-3]))) == pytest.approx(0.5, abs=1e-4)


def test_unrest_pulls_on_small_moves_as_on_large_ones_and_has_a_finite_gradient_at_rest() -> None:
    for move in (1e-4, 1e-2, 1.0):
        ahead = torch.tensor([[move]], dtype=torch.float64, requires_grad=True)
        unrest(torch.zeros(1, 1, dtype=torch.float64), ahead).backward()
        assert float(ahead.grad) * move == pytest.approx(1 / 13.8155, rel=0.02)  # type: ignore[arg-type]
    ahead = torch.zeros(2, 1, requires_grad=True)
    unrest(torch.zeros(2, 1), ahead).backward()
    assert ahead.grad is not None
    assert bool(torch.isfinite(ahead.grad).all())
    states = torch.randn(4, 3, dtype=torch.float64)
    moved = (states + 1e-3 * torch.randn(4, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: unrest(states, m, 1e-3), (moved,), eps=1e-8, atol=1e-4)


@pytest.mark.parametrize(
    ("function", "quiet"), [(lambda h: torch.tanh(2 * h), True), (lambda h: -2 * h / h.abs(), False)]
)
def test_rest_tells_equilibria_from_cycles_and_vaa_star_does_not(function, quiet: bool) -> None:  # type: ignore[no-untyped-def]
    class Kick(Map):
        """Starts anywhere: the first input becomes the state."""

        def forward(self, input, h_0=None):  # type: ignore[no-untyped-def]
            return super().forward(input, input[:1, :, :1] if h_0 is None else h_0)

    sequences = torch.randn(5, 16, 1, dtype=torch.float64)
    layers = layers_of(Kick(function, 1))
    drawn = layers, (sequences, None), 200, torch.Generator().manual_seed(0)
    (settled,) = settle_together(WarmupPlan(Rest()), *drawn)
    assert (float(settled.unrest) < 0.01) == quiet
    assert float(settled.vaa_star) + 1e-3 >= 2 / 16
    assert float(settle_alone(WarmupPlan(Published()), *drawn)[0].unrest) == 0.0


@pytest.mark.parametrize("known", [False, True])
def test_states_rest_under_inputs_of_the_task_and_are_measured_under_them(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The sequences hold 1 to 3 and, beyond their ends, no number; the holding input is 5."""
    heard: dict[str, list[torch.Tensor]] = {}
    for place in ("procedures.stabilisation.run_layers", "procedures.stabilisation.run_constant",
                  "dynamics.settling.run_constant"):  # fmt: skip
        function = {"run_layers": run_layers, "run_constant": run_constant}[place.rpartition(".")[2]]

        def listening(layers, inputs, *rest, place=place, function=function):  # type: ignore[no-untyped-def]
            heard.setdefault(place, []).append(inputs)
            return function(layers, inputs, *rest)

        monkeypatch.setattr(f"lightning_warmup.{place}", listening)
    monkeypatch.setattr(Rest, "settle_steps", 20)
    torch.manual_seed(0)
    sequences, lengths = torch.randint(1, 4, (8, 64, 1)).float(), torch.randint(1, 9, (64,))
    sequences[torch.arange(8)[:, None] >= lengths] = torch.nan
    network, held = nn.GRU(1, 6), torch.full((1, 1), 5.0) if known else None
    warmup(network, sequences, lengths, objective="rest", steps=5, holding_inputs=held)
    add_gradient(WarmupPlan(Rest(), holding_inputs=held), network, (sequences, lengths), step=0)
    assert len(heard) == 3
    for place, inputs in heard.items():
        read = set(torch.cat([x.flatten() for x in inputs]).tolist())
        assert read <= ({5.0} if known else {1.0, 2.0, 3.0})
        if "stabilisation" in place:
            assert all((x == x[..., :1, :]).all() for x in inputs)  # all states read the same


def test_holding_inputs_that_are_none_of_the_network_are_refused() -> None:
    held = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^holding_inputs=a tensor \(2, 3\): must be \(K, 1\) with K of"):
        warmup(nn.GRU(1, 4), torch.randn(5, 32, 1), objective="rest", holding_inputs=held)
    with pytest.raises(
        ValueError, match=r"^holding_inputs=a tensor \(2, 3\): must be left out, states of a Published"
    ):
        warmup(nn.GRU(1, 4), torch.randn(5, 32, 1), holding_inputs=held)


def test_the_stabilisation_grows_while_states_are_held_and_shrinks_when_they_collapse() -> None:
    schedule = Adaptive(left=200, most=100)
    apart, together, still = 0.9, 0.1, 0.0
    for step in range(30):
        schedule.adapt(step, 10, apart, still)
    assert schedule.longest == 100
    schedule.adapt(30, 10, together, still)
    assert schedule.longest == pytest.approx(70)
    schedule.adapt(31, 10, apart, 1.0)  # moves of order one
    assert schedule.longest == pytest.approx(49)
    assert schedule.lr_factor(99) == 1.0
    assert schedule.lr_factor(200) == pytest.approx(0.1)
    assert [schedule_of(Rest(), 900, attempt).lr_factor(0) for attempt in (1, 2, 3)] == [1, 1, 2]
    assert Schedule(100, 200, 10).lr_factor(99) == 1.0


@pytest.mark.parametrize(("target", "grows"), [(0.95, False), (0.5, True)])
def test_states_as_far_apart_as_the_target_asks_are_held(target: float, grows: bool) -> None:
    schedule = schedule_of(Rest(target=target), 900, attempt=1)
    before = schedule.longest
    schedule.adapt(0, 10, 0.5, 0.0)
    assert (schedule.longest > before) == grows


def test_a_collapse_or_an_oscillation_is_given_up_while_another_attempt_can_follow() -> None:
    together, apart = 0.1, 0.9
    still, moving = 0.0, 1.0
    for stars, unrests, left, expected in (
        (together, still, 450, 149),
        (apart, moving, 450, 149),
        (apart, still, 450, None),
        (together, still, 449, None),
    ):
        schedule = Adaptive(left=left, most=100)
        given_up = []
        for step in range(schedule.steps):
            schedule.adapt(step, 10, stars, unrests)
            given_up += [step] if schedule.hopeless else []
        assert given_up == ([] if expected is None else [expected])


@pytest.mark.parametrize(("reached", "expected"), [(0.5, [1] * 3 + [2] * 3 + [3] * 3), (0.95, [1] * 3)])
def test_another_attempt_begins_from_the_same_weights_unless_states_rest(
    monkeypatch: pytest.MonkeyPatch, reached: float, expected: list[int]
) -> None:
    measured = Multistability(1.0, reached, 1.0, 0.0, (1.0,))
    loop = "lightning_warmup.procedures.warmup"
    monkeypatch.setattr("lightning_warmup.procedures.schedules.ATTEMPT", 3)
    monkeypatch.setattr(
        f"{loop}.schedule_of", lambda _, left, attempt: Adaptive(left, 400, 3, 1 + (attempt > 2))
    )
    monkeypatch.setattr(f"{loop}.measure", lambda *_: measured)
    torch.manual_seed(0)
    network = nn.GRU(1, 4)
    begun = network.weight_hh_l0.detach().clone()
    batches = ((torch.randn(6, 8, 1), None) for _ in range(11))
    moves, attempts = [], []
    for number, step in enumerate(warmup_steps(network, batches, WarmupPlan(Rest(steps=11)))):
        assert step.step == number
        attempts.append(step.attempt)
        moves.append(float((network.weight_hh_l0.detach() - begun).abs().max()))
    assert attempts == expected
    assert moves[2] > 0.015  # Adam moves a weight by 0.01 a step at most
    for first in moves[3:4]:
        assert 0.0099 <= first <= 0.0101
    for first in moves[6:7]:  # by twice as much in the third attempt
        assert 0.0199 <= first <= 0.0201


def test_a_warmup_for_rest_ends_in_many_equilibria_at_rest() -> None:
    torch.manual_seed(0)
    network, sequences = RecurrentNetwork(1, 32, 1), torch.randn(50, 512, 1)
    history = warmup(network, sequences, objective="rest")
    measured = multistability(network, sequences[:, :64], steps=10_000, draws=1)
    assert measured.resting_fraction > 0.9
    assert measured.resting_vaa > 0.8
    assert history.goal_reached
    assert history.resting_vaa > Rest.goal
    assert history.settle_steps == 10_000
    assert len(history) == 300


def test_what_is_kept_in_training_is_the_gradient_of_the_objective() -> None:
    torch.manual_seed(0)
    network, sequences = nn.GRU(1, 6), torch.randn(8, 16, 1)
    twin = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    plan = WarmupPlan(Rest(rest_weight=2.0, regularize=0.5), seed=1)
    add_gradient(plan, network, (sequences, None), step=1)
    generator = torch.Generator().manual_seed(3)
    stabilization = int(torch.randint(1, 201, (), generator=generator))
    (layer,) = settle_together(plan, layers_of(twin), (sequences, None), stabilization, generator)
    (0.5 * ((layer.vaa_star - 0.95) ** 2 + 2.0 * layer.vaa_star.detach() * layer.unrest)).backward()
    for parameter, reference in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 1 + reference.grad)  # type: ignore[operator]


@pytest.mark.parametrize("leaky", [False, True])
def test_what_is_kept_in_training_moves_the_weights_that_a_warmup_moves(leaky: bool) -> None:
    torch.manual_seed(0)
    network, sequences = SideMemory("gru", 1, 8, num_layers=2), torch.randn(20, 8, 1)
    nn.init.ones_(network.gains[0])
    add_gradient(WarmupPlan(Rest(), leaky=leaky), network, (sequences, None), step=0)
    kept = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    before = copy.deepcopy(network.state_dict())
    warmup(network, sequences, objective=Rest(steps=1), leaky=leaky)
    assert kept == {name for name, w in network.state_dict().items() if not torch.equal(w, before[name])}
    assert leaky == any(name.startswith("plain.0") for name in kept)


def test_the_stage_keeps_the_objective_in_every_fourth_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(
        "lightning_warmup.callbacks.warmup.add_gradient", lambda *_: kept.append(len(module.seen))
    )
    module = Stranger()
    stage = WarmupStage(steps=1, objective=Published(regularize=0.1))
    trainer(tmp_path, stage, max_epochs=3).fit(module, loader())
    assert kept == [1, 5, 9]
    kept.clear()
    trainer(tmp_path, WarmupStage(steps=1), max_epochs=1).fit(module, loader())
    assert kept == []


def test_the_stage_says_in_one_line_whether_the_goal_was_met(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = WarmupStage(steps=3, objective="rest")
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        trainer(tmp_path, stage, max_epochs=1).fit(Stranger(), loader())
    lines = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in lines if "resting VAA" in line]
    assert line.startswith("Warmup: memory: ")
    assert " over 10,000 constant steps, after 3 warmup steps; " in line
    assert line.endswith("; try steps=9 instead of 3")

    history = tuple(WarmupStep(n, 1 + n // 100, 10, 0.0, 0.9, 0.1, 0.0) for n in range(200))
    stage = WarmupStage(objective="rest")
    stage.result = WarmupResult(history, True, 1.0, 0.99, 10_000, 0.1)
    assert (
        stage.outcome()
        == "VAA 1.00, resting VAA 0.99 (goal 0.9) over 10,000 constant steps, after 200 warmup steps in 2 attempts"
    )
    stage = WarmupStage()
    stage.result = WarmupResult(history[:100], False, 0.5, 0.0, 2000, 0.1)
    assert stage.outcome() == (
        "VAA 0.50 (goal 0.9), resting VAA 0.00 over 2,000 constant steps, after 100 warmup steps; "
        "try steps=300 instead of 100"
    )
    stage.result = WarmupResult(history[:100], True, 1.0, 0.0, 2000, 1e-7)
    assert stage.outcome() == (
        "VAA 1.00 (goal 0.9), resting VAA 0.00 over 2,000 constant steps, after 100 warmup steps; "
        "it forgets the first halves of its sequences (1e-07 is left of them) and may not learn"
    )


class Told(StrangersData):
    """Knows the input under which the network has to hold."""

    holding_inputs = torch.full((1, 1), 5.0)


def test_the_holding_inputs_of_a_datamodule_are_those_of_the_warmup_and_of_what_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, other = WarmupStage(steps=1, objective="rest"), WarmupStage(steps=1)
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        trainer(tmp_path, stage).fit(Stranger(), Told())
        trainer(tmp_path, other).fit(Stranger(), Told())
        kept_in_training = WarmupStage(steps=1, objective=Published(regularize=0.5))
        trainer(tmp_path, kept_in_training, gradient_clip_val=0.1).fit(Stranger(), Told())
    assert stage.plan.holding_inputs is Told.holding_inputs
    assert other.plan.holding_inputs is None
    kept = [line for line in caplog.messages if "active in training" in line]
    assert kept == [
        "Warmup: regularize=1, its objective stays active in training; "
        "gradients are not clipped and may grow: try gradient_clip_val=0.1",
        "Warmup: regularize=0.5, its objective stays active in training",
    ]
    own = torch.zeros(1, 1)
    stage = WarmupStage(steps=1, objective="rest", holding_inputs=own)
    trainer(tmp_path, stage).fit(Stranger(), Told())
    assert stage.plan.holding_inputs is own


def test_the_holding_inputs_of_an_earlier_datamodule_are_forgotten(tmp_path: Path) -> None:
    stage, another = WarmupStage(steps=1, objective="rest"), Told()
    another.holding_inputs = -Told.holding_inputs
    for data, held in ((Told(), 5.0), (another, -5.0), (StrangersData(), None)):
        trainer(tmp_path, stage, max_steps=0).fit(Stranger(), data)
        found = stage.plan.holding_inputs
        assert (None if found is None else found.item()) == held


def test_nothing_watches_the_network_after_a_fit(tmp_path: Path) -> None:
    module = Stranger()
    stage = WarmupStage(steps=1, objective="rest")
    trainer(tmp_path, stage, max_steps=1, gradient_clip_val=0.1).fit(module, StrangersData())
    module.rnn(torch.randn(2, 5, 1))
    assert stage._batch is None
    assert pickle.dumps(module.rnn)


def test_an_objective_has_its_own_settings_and_the_stage_its_number_of_steps() -> None:
    by_name, made = WarmupStage(objective="rest", steps=7), WarmupStage(objective=Rest(epsilon=1e-3))
    assert by_name.plan.objective == Rest(steps=7)
    assert made.plan.objective == Rest(epsilon=1e-3)
    assert (Published().steps, Rest().steps, by_name.steps, made.steps) == (100, 900, 7, 900)
    assert made.summary() == {
        "steps": 900, "extension": 1, "epsilon": 1e-3, "target": 0.95, "max_stabilization": 400,
        "rest_weight": 0.6, "regularize": 1.0, "lr": 0.01,
    }  # fmt: skip
    assert all(field.description for field in Rest.model_fields.values())


def test_settings_are_known_without_torch() -> None:
    code = "import sys; from lightning_warmup import Rest; Rest(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_is_retained_tells_networks_that_hold_from_those_that_have_forgotten() -> None:
    """A network that holds its first input as it is, and one that keeps a tenth of its state at each step."""

    class Kick(Map):
        def forward(self, input, h_0=None):  # type: ignore[no-untyped-def]
            return super().forward(input, input[:1, :, :1] if h_0 is None else h_0)

    sequences = torch.randn(24, 64, 1, generator=torch.Generator().manual_seed(0))
    lengths = torch.randint(1, 25, (64,), generator=torch.Generator().manual_seed(0))
    for given in (None, lengths):
        holds = retained(layers_of(Kick(lambda h: h, 1)), sequences, given)
        assert holds == pytest.approx(float(sequences[0].std(correction=0)), rel=1e-5)
        lengths[0] = 24
        assert retained(layers_of(Kick(lambda h: 0.1 * h, 1)), sequences, given) < 1e-6
    forgetful = warmup(nn.GRU(1, 8), torch.randn(200, 64, 1), steps=1, lr=1e-9)
    assert forgetful.retained < 1e-5
    assert not forgetful.trainable


@pytest.mark.parametrize("name", objective_names())
def test_every_objective_moves_all_layers_and_is_measured(name: str) -> None:
    torch.manual_seed(0)
    network, sequences = nn.GRU(1, 16, num_layers=2), torch.randn(20, 64, 1)
    initial = copy.deepcopy(network.state_dict())
    result = warmup(network, sequences, objective=name, steps=3)
    assert len(result) == len(result.history) == len(list(result)) == 3
    assert result.attempts == 1
    assert all(0 <= step.vaa_star <= 1 and step.loss < float("inf") for step in result)
    assert 0 <= result.resting_vaa <= result.vaa <= 1
    assert all(not torch.equal(value, initial[key]) for key, value in network.state_dict().items())
    assert warmup(network, sequences, objective=objective_by_name(name)(), steps=1)[0].step == 0


SPREAD = '''
import torch
from torch import Tensor

from lightning_warmup.procedures.objectives import Objective, SettledLayer


class Spread(Objective):
    strength: float = 1.0
    """Factor of the loss."""

    def layer_loss(self, layer: SettledLayer) -> Tensor:
        return self.strength * (torch.pdist(torch.tanh(layer.states)).mean() - self.target) ** 2
'''


def test_a_further_file_is_a_further_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spread.py").write_text(SPREAD)
    (tmp_path / "empty.py").write_text("")
    monkeypatch.setattr(objectives, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(objectives, "__path__", [str(tmp_path)])
    assert objective_names() == ["empty", "spread"]
    torch.manual_seed(0)
    objective = objective_by_name("spread")(max_stabilization=5, strength=0.5)
    assert objective.strength == 0.5
    history = warmup(nn.GRU(1, 16), torch.randn(20, 64, 1), objective=objective, steps=30)
    assert history[-1].loss < 0.5 * history[0].loss
    with pytest.raises(
        ValueError, match=r"empty\.py must define one public subclass of Objective .*, not none$"
    ):
        objective_by_name("empty")
    for name in ("spread", "empty"):
        sys.modules.pop(f"{objectives.__name__}.{name}")


@pytest.mark.parametrize("argument", [{"objective": "other"}, {"lr": -1}, {"steps": 0}, {"batch_size": 0}])
def test_the_stage_refuses_wrong_settings_when_it_is_made(argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{list(argument)[-1]}="):
        WarmupStage(**argument)


@pytest.mark.parametrize(
    ("kind", "name", "value", "allowed"),
    [
        (Published, "target", 2, "=2: must be number > 0 and <= 1"),
        (Published, "epsilon", 0, "=0: must be number > 0"),
        (Published, "max_stabilization", 0, "=0: must be whole number >= 1"),
        (Published, "extension", 0, "=0: must be whole number >= 1"),
        (Published, "regularize", -1, "=-1: must be number >= 0"),
        (Rest, "rest_weight", -1, "=-1: must be number >= 0"),
        (Published, "rest_weight", 0.5, ": no such setting of Published, which has steps, extension,"),
        (Rest, "stabilization_ramp", 5, ": no such setting of Rest, which has steps, extension,"),
    ],
)
def test_an_objective_refuses_wrong_settings(
    kind: type[Objective], name: str, value: float, allowed: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name}{re.escape(allowed)}"):
        kind(**{name: value})


def test_the_loss_of_a_layer_has_no_axes() -> None:
    class Vector(Objective):
        def layer_loss(self, layer: SettledLayer) -> torch.Tensor:
            return layer.states.mean(0)

    with pytest.raises(ValueError, match=r"Vector.layer_loss: must return a tensor without axes"):
        warmup(torch.nn.GRU(1, 8), torch.randn(20, 64, 1), objective=Vector(), steps=1)
