"""The Q-network: its loss against a slow account, its target, what it learns, and how it is resumed."""

from __future__ import annotations

import inspect
import os
import socket
from pathlib import Path

import pytest
import torch
from benchmark import benchmark
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.optim import Adam

from configs.run import Config
from datamodules.replay import Episode, padded
from datamodules.tmaze import TMaze
from lightning_warmup import WarmupStage
from lightning_warmup.cells import cell_names
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.modules import DQNModule
from lightning_warmup.networks import RecurrentNetwork

SMALL = {
    "length": 3,
    "capacity": 200,
    "batch_size": 16,
    "gradient_steps": 4,
    "episodes_per_epoch": 3,
    "test_multiples": [2, 3],
}


def module(seed: int = 0, lr: float = 1e-3, **settings) -> DQNModule:
    torch.manual_seed(seed)
    own = {name: settings.pop(name) for name in ("cell", "double", "hidden_size") if name in settings}
    sizes = {"input_size": 9, "hidden_size": 12, "output_size": 4, "num_layers": 2}
    return DQNModule(sizes | own, lambda parameters, _: Adam(parameters, lr=lr), **settings)


def trainer(folder: Path, *callbacks: Callback, **arguments) -> Trainer:
    defaults = {
        "max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder,
    }  # fmt: skip
    return Trainer(callbacks=list(callbacks), **(defaults | arguments))


def explored(count: int) -> list[Episode]:
    return benchmark("tmaze", length=5).environment.play(range(count))


@pytest.mark.parametrize("prefixes", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_loss_is_that_of_a_slow_account(cell, prefixes):
    """One network call for each history, as in the equation."""
    q = module(cell=cell)
    q.target.load_state_dict(module(seed=1, cell=cell).network.state_dict())
    q.log = lambda *_, **__: None
    episodes = explored(6)
    assert {single.terminated for single in episodes} == {True, False}
    errors = []
    for single in episodes:
        count = len(single.actions)
        for t in range(count - 1 if prefixes else 0, count):
            value = q(single.inputs[None, : t + 1])[0, -1, single.actions[t]]
            following = q.target(single.inputs[None, : t + 2])[0][0, -1].max()
            goes_on = not (single.terminated and t == count - 1)
            errors.append((value - (single.rewards[t] + 0.98 * following * goes_on)) ** 2)
    expected = torch.stack(errors).mean()
    loss = q.training_step(padded(episodes, prefixes), 0)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value, list(q.network.parameters())) for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in q.target.parameters())


def test_rewards_that_are_not_finite_are_said_to_be_the_data():
    q = module()
    inputs, actions, rewards, *others = padded(explored(4))
    with pytest.raises(ValueError, match="data: NaN or infinite values in a batch"):
        q.training_step((inputs, actions, rewards * torch.nan, *others), 0)


def test_processes_add_up_to_the_loss_of_one():
    q = module()
    q.log = lambda *_, **__: None
    episodes = explored(8)
    shares = [q.training_step(padded(episodes, world_size=2, rank=rank), 0) for rank in (0, 1)]
    torch.testing.assert_close(sum(shares) / 2, q.training_step(padded(episodes), 0))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("cell", cell_names())
def test_playing_step_by_step_is_reading_the_whole_history(cell, double):
    q = module(cell=cell, double=double)
    torch.nn.init.normal_(q.network.readout.weight)
    for single in benchmark("tmaze", length=4).environment.play(range(6), q.act):
        assert torch.equal(q(single.inputs[None, :-1])[0].argmax(1), single.actions)


class Watch(Callback):
    """Notes before each training step whether the target is the network, and the episodes played."""

    def __init__(self) -> None:
        self.synced: list[tuple[int, bool]] = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        pairs = zip(pl_module.network.parameters(), pl_module.target.parameters(), strict=True)
        self.synced.append((trainer.datamodule.episodes_played, all(torch.equal(*pair) for pair in pairs)))


def test_the_target_follows_every_so_many_episodes(tmp_path):
    watch = Watch()
    trainer(tmp_path, watch).fit(module(target_update=2), benchmark("tmaze", **SMALL))
    episodes = [1 + step // 4 for step in range(24)]
    assert watch.synced == [(episode, step % 8 == 0) for step, episode in enumerate(episodes)]


@pytest.mark.parametrize("double", [False, True])
def test_the_stage_warms_the_network_up_and_the_target_follows(tmp_path, double):
    q, stage = module(double=double), WarmupStage("network", DQNModule.sequences, steps=5, batch_size=16)
    before = {name: value.clone() for name, value in q.network.state_dict().items()}
    watch = Watch()
    trainer(tmp_path, stage, watch, max_steps=1).fit(q, benchmark("tmaze", **SMALL))
    assert stage.done
    assert watch.synced[0] == (1, True)
    moved = {name for name, value in q.target.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not any(".second." in name or "readout" in name for name in moved)


def test_warmed_up_on_histories_it_reaches_more_states(tmp_path):
    """On the histories of the test split, as the report measures it."""
    q, data = module(hidden_size=16), benchmark("tmaze", length=5, capacity=500)
    sequences, lengths = data.first_test_batch(64)
    assert multistability(q.network, sequences, lengths, steps=100).vaa < 0.1
    trainer(tmp_path, WarmupStage("network", DQNModule.sequences, steps=40), max_steps=1).fit(q, data)
    assert multistability(q.network, sequences, lengths, steps=100).vaa > 0.3


def test_it_learns_a_short_maze_and_says_when(tmp_path):
    data = benchmark("tmaze", length=3, capacity=1000, test_multiples=[2], episodes_per_epoch=10)
    q = module(hidden_size=16, lr=1e-2, stop_when_optimal=True)
    run = trainer(tmp_path, max_epochs=20)
    run.fit(q, data)
    assert run.callback_metrics["val/optimal"] == 1
    assert run.callback_metrics["val/return"] == 4
    assert run.callback_metrics["val/discounted_return"] == pytest.approx(4 * 0.98**3)
    assert run.callback_metrics["val/first_optimal_episode"] == data.episodes_played == 10 * run.current_epoch
    assert run.current_epoch < 20
    (figures,) = run.test(q, data, verbose=False)
    assert set(figures) == {
        "test/return", "test/discounted_return", "test/optimal", "return_at_length/6", "optimal_at_length/6",
    }  # fmt: skip
    assert figures["test/optimal"] == 1


def test_what_is_not_optimal_is_not_called_so(tmp_path):
    q, data = module(), benchmark("tmaze", **SMALL)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(q, data)
    assert run.callback_metrics["val/optimal"] == 0
    assert "val/first_optimal_episode" not in run.callback_metrics
    assert torch.isfinite(run.callback_metrics["val/value"])
    assert {"train/loss", "train/return"} <= set(run.callback_metrics)


def test_any_environment_is_learnt_until_it_counts_as_solved(tmp_path):
    data = benchmark(
        "gym", env_id="CartPole-v1", max_episode_steps=20, threshold=5, capacity=100, episodes_per_epoch=2
    )
    network = RecurrentNetwork(data.input_size, 8, data.output_size, batch_first=True)
    q = DQNModule(network, gamma=0.0, stop_when_optimal=True)
    assert q.monitor == ("val/return", "max")
    run = trainer(tmp_path, WarmupStage("network", DQNModule.sequences, steps=2), max_epochs=3)
    run.fit(q, data)
    assert (run.current_epoch, data.episodes_played) == (1, 2)
    assert run.callback_metrics["val/solved"] == 1
    assert run.callback_metrics["val/solved_at"] == 2
    (figures,) = run.test(q, data, verbose=False)
    assert set(figures) == {"test/return", "test/discounted_return", "test/solved"}


class Crash(Callback):
    """Saves after a number of steps, and ends the run some steps later, as a kill would."""

    def __init__(self, saved: int, killed: int, path: Path) -> None:
        self.saved, self.killed, self.path = saved, killed, path

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.saved:
            trainer.save_checkpoint(self.path)
        if trainer.global_step == self.killed:
            raise KeyboardInterrupt

    def on_train_start(self, trainer, pl_module) -> None:
        if self.saved == 0:
            trainer.save_checkpoint(self.path)


RESUME = {"length": 2, "capacity": 60, "batch_size": 8, "gradient_steps": 4, "episodes_per_epoch": 3}


def final(q: DQNModule, data: TMaze) -> dict:
    return {**q.state_dict(), **data.state_dict()["replay"], "played": torch.tensor(data.episodes_played)}


@pytest.mark.parametrize(
    ("saved", "samples"),
    [(0, "episodes"), (1, "episodes"), (7, "prefixes"), (12, "episodes"), (16, "episodes"), (24, "prefixes")],
)
def test_a_killed_run_ends_as_one_that_was_not(tmp_path, saved, samples):
    settings = RESUME | {"samples": samples, "stochasticity": 0.2}
    q, data = module(target_update=2, lr=1e-2), benchmark("tmaze", **settings)
    stage = {"steps": 2, "batch_size": 8}
    trainer(tmp_path, WarmupStage("network", DQNModule.sequences, **stage), max_epochs=3).fit(q, data)

    path = tmp_path / "saved.ckpt"
    killed = module(target_update=2, lr=1e-2), benchmark("tmaze", **settings)
    callbacks = WarmupStage("network", DQNModule.sequences, **stage), Crash(saved, saved + 3, path)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(tmp_path, *callbacks, max_epochs=3).fit(*killed)
    resumed = module(seed=5, target_update=2, lr=1e-2), benchmark("tmaze", **settings)
    run = trainer(tmp_path, WarmupStage("network", DQNModule.sequences, **stage), max_epochs=3)
    run.fit(*resumed, ckpt_path=path, weights_only=True)
    assert run.global_step == 36
    expected, found = final(q, data), final(*resumed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def test_a_checkpoint_is_tested_alone(tmp_path):
    q, data = module(), benchmark("tmaze", **SMALL)
    run = trainer(tmp_path)
    run.fit(q, data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    (expected,) = run.test(q, data, verbose=False)
    loaded = DQNModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert loaded.hparams == q.hparams
    (found,) = trainer(tmp_path).test(
        loaded, benchmark("tmaze", **SMALL), ckpt_path=tmp_path / "a.ckpt", verbose=False
    )
    assert found == expected


def test_the_defaults_are_those_of_the_schema():
    parameters = inspect.signature(DQNModule.__init__).parameters.values()
    settings = Config().agent.model_dump()
    own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert own == settings | {"judged_by": "discounted_return"}  # which the benchmark says


def test_the_seed_of_the_run_decides_everything(tmp_path):
    weights = []
    for seed in (1, 1, 2):
        seed_everything(seed, verbose=False)
        q = DQNModule({"input_size": 9, "hidden_size": 8, "output_size": 4})
        trainer(tmp_path, max_epochs=1).fit(q, benchmark("tmaze", **SMALL, seed=seed))
        weights.append(q.network.readout.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def in_process(rank: int, folder: Path, port: int) -> None:
    """The fit of one of two processes, as a launcher starts it."""
    os.environ.update(WORLD_SIZE="2", LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_PORT=str(port))
    q, data = module(target_update=2), benchmark("tmaze", **SMALL)
    stage = WarmupStage("network", DQNModule.sequences, steps=3, batch_size=16)
    trainer(folder, stage, strategy="ddp", devices=2).fit(q, data)
    torch.save(final(q, data), folder / f"{rank}.pt")


def test_two_processes_learn_as_one_does(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_process, (tmp_path, port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    q, data = module(target_update=2), benchmark("tmaze", **SMALL)
    trainer(tmp_path, WarmupStage("network", DQNModule.sequences, steps=3, batch_size=16)).fit(q, data)
    assert first["played"] == 6
    for name, expected in final(q, data).items():
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(first[name], expected, rtol=1e-3, atol=1e-4, equal_nan=True)
