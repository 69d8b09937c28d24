"""The two pretrainings, by themselves and as a stage."""

from __future__ import annotations

import copy
import csv
import inspect
from itertools import repeat
from pathlib import Path

import pytest
import torch
from command import Command
from lightning.pytorch.loggers import CSVLogger
from stranger import Stranger, loader, trainer
from torch import Tensor, nn

from configs.run import Config
from lightning_warmup import WarmupStage
from lightning_warmup.callbacks.pretrain import PretrainStage
from lightning_warmup.cells import cell_names
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures.pretrain import TASKS, PretrainPlan, pretrain_steps
from lightning_warmup.reporting.figures import read_portraits


def waves(count: int = 32, length: int = 20) -> Tensor:
    """Sine waves of random phase and frequency, ``(T, N, 1)``."""
    generator = torch.Generator().manual_seed(0)
    phase, frequency = torch.rand(2, count, 1, generator=generator)
    return torch.sin(6.3 * phase + (0.3 + frequency) * torch.arange(length)).t().unsqueeze(2)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", cell_names())
def test_every_cell_learns_to_give_back_what_it_sees(cell: str, task: str) -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(1, 16, 1, cell=cell, batch_first=True)
    readout = copy.deepcopy(network.readout.state_dict())
    losses = [
        step.loss
        for step in pretrain_steps(network, repeat((waves(length=8), None)), PretrainPlan(task, 60, lr=1e-2))
    ]
    assert len(losses) == 60
    assert losses[-1] < 0.6 * losses[0]
    assert all(torch.equal(value, readout[name]) for name, value in network.readout.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def slow_loss(rnn: nn.LSTM, sequences: Tensor, lengths: list[int], task: str) -> float:
    """The loss of the first step, sequence by sequence and step by step, with the read-out that seed 5 draws."""
    torch.manual_seed(5)
    head = nn.Linear(rnn.hidden_size, sequences.shape[2])
    squares = []
    for sequence, length in zip(sequences, lengths, strict=True):
        prefix, state = sequence[:length], None
        inputs = prefix[:-1]
        targets = prefix[1:]
        if task == "autoencode":
            state = rnn(prefix.unsqueeze(0))[1]
            inputs = torch.cat([torch.zeros_like(prefix[:1]), prefix[:-1]])
            targets = prefix
        for value, target in zip(inputs, targets, strict=True):
            output, state = rnn(value.view(1, 1, -1), state)
            squares += (head(output).view(-1) - target).square().tolist()
    return sum(squares) / len(squares)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("lengths", [None, [3, 7, 5, 2]])
def test_the_loss_is_that_of_the_definition(task: str, lengths: list[int] | None) -> None:
    torch.manual_seed(0)
    rnn, sequences = nn.LSTM(2, 6, num_layers=2, batch_first=True), torch.randn(4, 7, 2)
    expected = slow_loss(copy.deepcopy(rnn), sequences, lengths or [7] * 4, task)
    batch = (sequences.transpose(0, 1), None if lengths is None else torch.tensor(lengths))
    (first,) = pretrain_steps(rnn, [batch], PretrainPlan(task, steps=1, seed=5))
    assert first.loss == pytest.approx(expected, rel=1e-5)


def test_a_double_layer_is_pretrained_in_both_halves() -> None:
    network = RecurrentNetwork(1, 8, 1, double=True, batch_first=True, silent=False)
    before = copy.deepcopy(network.layers.state_dict())
    list(pretrain_steps(network, repeat((waves(), None)), PretrainPlan(steps=2)))
    moved = {
        name.split(".")[1]
        for name, value in network.layers.state_dict().items()
        if not value.equal(before[name])
    }
    assert moved == {"first", "second"}


def test_the_stage_runs_once_before_the_warmup_and_leaves_the_training_alone(tmp_path: Path) -> None:
    seen = []
    for callbacks in ([], [PretrainStage(task="next_step", steps=2), WarmupStage(steps=1)]):
        torch.manual_seed(7)
        module = Stranger()
        logger = CSVLogger(tmp_path)
        fit = trainer(tmp_path, *callbacks, max_epochs=2, logger=logger)
        fit.fit(module, loader())
        seen.append((module.seen, torch.get_rng_state()))
    assert seen[0][0] == seen[1][0]
    assert torch.equal(seen[0][1], seen[1][1])
    with open(logger.experiment.metrics_file_path, newline="") as file:
        steps = [(name, row[name]) for row in csv.DictReader(file) for name in row if name.endswith("/step")]
    logged = [(name, step) for name, step in steps if step]
    assert logged == [("pretrain/step", "0"), ("pretrain/step", "1"), ("warmup/step", "0")]

    fit.save_checkpoint(tmp_path / "a.ckpt")
    resumed = PretrainStage(task="next_step", steps=2)
    resumed.run = lambda *_: pytest.fail("pretrained again")  # type: ignore[method-assign]
    trainer(tmp_path, resumed, max_epochs=3).fit(module, loader(), ckpt_path=tmp_path / "a.ckpt")
    assert resumed.done


def test_mistakes_are_said() -> None:
    with pytest.raises(ValueError, match="task='other'"):
        PretrainStage(task="other")
    for argument in ({"steps": 0}, {"lr": 0.0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(argument))}=0"):
            PretrainStage(**argument)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"step 1 with lr=3e\+37; a smaller lr may help"):
        list(pretrain_steps(nn.GRU(1, 4), repeat((waves(), None)), PretrainPlan(lr=3e37)))


@pytest.mark.parametrize("task", TASKS)
def test_batches_are_checked_as_those_of_a_warmup(task: str) -> None:
    plan, batch = PretrainPlan(task, steps=3), (waves(), None)
    for given in ([], [batch, batch]):
        with pytest.raises(ValueError, match=f"^steps=3: there are only {len(given)} batches$"):
            list(pretrain_steps(nn.GRU(1, 4), given, plan))
    bad = waves()
    bad[3, 1] = torch.nan
    said = rf"^sequences: must be finite, .* in 1 of {bad.shape[1]} at pretraining step 1$"
    with pytest.raises(ValueError, match=said):
        list(pretrain_steps(nn.GRU(1, 4), [batch, (bad, None)], plan))


def test_a_sequence_of_one_step_has_no_next_one() -> None:
    one, ended = waves(length=1), waves()
    for batch in ((one, None), (ended, torch.ones(ended.shape[1], dtype=torch.int64))):
        with pytest.raises(ValueError, match=r"^sequences=.*: must be longer than one step"):
            list(pretrain_steps(nn.GRU(1, 4), repeat(batch), PretrainPlan("next_step")))
        assert len(list(pretrain_steps(nn.GRU(1, 4), repeat(batch), PretrainPlan(steps=2)))) == 2


def test_defaults_are_those_of_the_schema() -> None:
    defaults = {name: p.default for name, p in inspect.signature(PretrainStage).parameters.items()}
    settings = vars(Config().pretrain) | {"task": defaults["task"]}
    assert {name: defaults[name] for name in settings} == settings


def test_a_run_is_pretrained_watched_and_portrayed(train: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = ["pretrain.task=autoencode", "pretrain.steps=3", "monitor.every_n_epochs=1"]
    train(f"run_dir={folder}", *train.small, *settings, "warmup.enabled=false")
    rows = train.metrics(folder)
    assert len([row for row in rows if "pretrain/loss" in row]) == 3
    assert len([row for row in rows if "monitor_M1000/vaa" in row]) == 3
    assert set(read_portraits(folder)) == {"before", "pretrain", "final"}
    for name in ("learning_curve", "pretraining", "multistability", "portraits"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
