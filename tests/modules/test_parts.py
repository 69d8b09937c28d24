"""The parts that a module is handed: networks, optimisers with their schedules, losses and metrics."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmark import benchmark
from command import Command
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanAbsoluteError, Metric

from configs.optim import CLASSES, Optim
from configs.values import ConfigError
from lightning_warmup.modules import SequenceModule
from lightning_warmup.modules.constant import best_constant_loss
from lightning_warmup.modules.parts import MakeOptimizer, training_steps
from lightning_warmup.networks import RecurrentNetwork

SIZES = {"input_size": 1, "hidden_size": 4, "output_size": 1}


def data(**sizes: Any) -> Any:
    small = {"seq_length": 4, "train_size": 24, "val_size": 8, "test_size": 8, "batch_size": 4}
    return benchmark("copy_first_input", **(small | {"test_lengths": [6]} | sizes))


def quiet(folder: Path, *callbacks: Callback, **arguments: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=list(callbacks), **arguments,
    )  # fmt: skip


class OwnNetwork(nn.Module):
    """A network of a user's own: torch's GRU, read out where it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.linear = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, input: Tensor, h_0: Any = None, read_at: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, h_n = self.rnn(input, h_0)
        return self.linear(output if read_at is None else output[:, read_at]), h_n


def test_a_network_of_ones_own_is_trained_and_loaded(tmp_path: Path) -> None:
    module, trainer = SequenceModule(OwnNetwork()), quiet(tmp_path, max_epochs=1)
    trainer.fit(module, data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = SequenceModule.load_from_checkpoint(tmp_path / "a.ckpt", network=OwnNetwork(), weights_only=True)
    assert torch.equal(loaded(torch.ones(1, 3, 1)), module(torch.ones(1, 3, 1)))
    with pytest.raises(ValueError, match="network=None: must be given"):
        SequenceModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)


def test_a_network_knows_all_of_its_arguments() -> None:
    network = RecurrentNetwork(1, 8, 2, cell="lstm", double=True)
    parameters = inspect.signature(RecurrentNetwork).parameters
    assert list(network.arguments) == list(parameters)
    other = RecurrentNetwork(**network.arguments)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(torch.ones(3, 1, 1))[0], other(torch.ones(3, 1, 1))[0])
    assert RecurrentNetwork.may_differ < set(parameters)


def rates(settings: Optim, total: float, steps: int) -> list[float]:
    """The learning rate of each of so many steps."""
    made = settings.make([nn.Parameter(torch.zeros(1))], total)
    optimizer = made["optimizer"]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made["lr_scheduler"]["scheduler"].step()
    return found


def test_schedules_set_the_rates_that_they_promise() -> None:
    risen = rates(Optim(lr=0.1, rise_steps=4), math.inf, 6)
    assert risen == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    cosine = rates(Optim(lr=0.1, schedule="cosine"), 10, 10)
    assert cosine == pytest.approx([0.05 * (1 + math.cos(math.pi * k / 10)) for k in range(10)])
    both = rates(Optim(lr=0.1, schedule="cosine", rise_steps=2), 10, 12)
    expected = [0.05, 0.1, *(0.05 * (1 + math.cos(math.pi * k / 8)) for k in range(1, 9)), 0, 0]
    assert both == pytest.approx([expected[0], expected[1], 0.1, *expected[2:11]])
    cycle = rates(Optim(lr=0.1, schedule="one_cycle", rise_steps=5), 21, 21)
    assert max(cycle) == pytest.approx(0.1)
    assert cycle.index(max(cycle)) == 4
    assert cycle[-1] < 1e-5


@pytest.mark.parametrize("name", CLASSES)
def test_an_optimiser_is_that_of_torch(name: str) -> None:
    optimizer = Optim(name=name, lr=0.01, weight_decay=0.1).make([nn.Parameter(torch.zeros(1))], 1)
    assert type(optimizer).__name__.lower() == name
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.01, 0.1)


def test_a_schedule_that_does_not_fit_the_training_is_refused() -> None:
    for total in (math.inf, 3):
        with pytest.raises(ValueError, match=r"optim\.schedule=cosine: needs a finite training"):
            Optim(schedule="cosine", rise_steps=3).make([nn.Parameter(torch.zeros(1))], total)
    with pytest.raises(ConfigError, match=r"optim\.rise_steps=3: must be 0 with optim\.schedule=plateau"):
        Optim(schedule="plateau", rise_steps=3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_epochs": 3}, 18),
        ({"max_epochs": 3, "max_steps": 7}, 7),
        ({"max_epochs": 3, "limit_train_batches": 5, "accumulate_grad_batches": 2}, 9),
        ({"max_epochs": -1, "max_steps": 11}, 11),
    ],
)
def test_the_number_of_training_steps_is_known_beforehand(
    tmp_path: Path, arguments: dict[str, Any], expected: int
) -> None:
    trainer, known = quiet(tmp_path, **arguments), []

    def make(parameters: Any, total_steps: float) -> torch.optim.Optimizer:
        known.append(total_steps)
        return torch.optim.Adam(parameters)

    trainer.fit(SequenceModule(SIZES, optimizer=make), data())
    assert known == [trainer.global_step] == [expected]


def test_a_training_without_end_has_infinitely_many_steps(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.should_stop = True
            assert training_steps(trainer) == math.inf

    quiet(tmp_path, Stop(), max_epochs=-1).fit(SequenceModule(SIZES), data())


class Saves(Callback):
    """Saves after a number of steps, or after the epoch of a step, and ends the run some steps later."""

    def __init__(self, path: Path, saved: int, killed: int) -> None:
        self.path, self.saved, self.killed = path, saved, killed
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.saved and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)
        if trainer.global_step == self.killed:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.global_step == self.saved:
            trainer.save_checkpoint(self.path)


def waits(parameters: Any, total_steps: float) -> dict[str, Any]:
    """An optimiser whose rate falls after every validation, since none is good enough."""
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    schedule = ReduceLROnPlateau(optimizer, patience=0, threshold=0.9)
    return {"optimizer": optimizer, "lr_scheduler": schedule}


@pytest.mark.parametrize("saved", [2, 9, 12])
@pytest.mark.parametrize(
    "make", [waits, *(Optim(schedule=name, lr=0.01).make for name in ("cosine", "one_cycle"))]
)
def test_a_killed_training_goes_on_in_the_middle_of_a_schedule(
    tmp_path: Path, make: MakeOptimizer, saved: int
) -> None:
    """After a step, in the middle of the second epoch of six steps, and after it."""
    path, runs = tmp_path / "a.ckpt", []
    for killed in (0, saved + 1):
        torch.manual_seed(0)
        callback, module = Saves(path, saved, killed), SequenceModule(SIZES, optimizer=make)
        try:
            quiet(tmp_path, callback, max_epochs=3).fit(module, data())
        except (KeyboardInterrupt, SystemExit):
            callback, module = Saves(path, 0, 0), SequenceModule(SIZES, optimizer=make)
            trainer = quiet(tmp_path, callback, max_epochs=3)
            trainer.fit(module, data(), ckpt_path=path, weights_only=True)
        runs.append((module, callback.rates))
    (whole, expected), (resumed, found) = runs
    assert found == expected[-len(found) :]
    assert len(found) == 18 - saved
    assert len(set(expected)) > 1
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_a_killed_run_of_the_command_goes_on_in_the_middle_of_a_schedule(
    train: Command, tmp_path: Path
) -> None:
    arguments = [
        *train.small, "optim.name=adamw", "optim.weight_decay=0.1", "optim.schedule=one_cycle",
        "optim.rise_steps=3", "ckpt_interval=0",
    ]  # fmt: skip
    train(f"run_dir={tmp_path / 'whole'}", *arguments)
    run, saved = tmp_path / "run", set()
    process, last = train.start(f"run_dir={run}", *arguments), run / "checkpoints" / "last.ckpt"

    def saves() -> int:
        if last.exists():
            saved.add(last.stat().st_mtime_ns)
        return len(saved)

    train.wait(process, lambda: saves() >= 4)
    train.kill(process)
    train(f"run_dir={run}", "ckpt=last")
    assert train.report(run) == train.report(tmp_path / "whole")


class Robust(SequenceModule):
    """Another loss, and a metric beside it."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(outputs, targets, delta=0.3)

    def metrics(self) -> dict[str, Metric]:
        return {"absolute_error": MeanAbsoluteError()}


def test_a_loss_and_a_metric_are_one_method_each(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, trainer, benchmark = Robust(SIZES), quiet(tmp_path, max_epochs=1), data()
    trainer.fit(module, benchmark)
    assert {"val/loss", "val/absolute_error"} <= set(trainer.callback_metrics)
    (found, further) = trainer.test(module, benchmark, verbose=False)
    sequences, targets, read_at = benchmark.first_test_batch(8)
    with torch.no_grad():
        outputs = module(sequences, read_at)
    expected = {
        "test/loss": F.huber_loss(outputs, targets, delta=0.3).item(),
        "test/absolute_error": (outputs - targets).abs().mean().item(),
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert set(further) == {"test_at_length/6", "absolute_error_at_length/6"}


def test_the_best_constant_prediction_follows_the_loss() -> None:
    benchmark = data(test_size=500)
    assert SequenceModule(SIZES).trivial_loss(benchmark) == 1.0
    targets = benchmark.split("test").targets.flatten(0, -2)
    losses = [
        F.huber_loss(torch.full_like(targets, c), targets, delta=0.3) for c in torch.arange(-2, 2, 0.001)
    ]
    assert Robust(SIZES).trivial_loss(benchmark) == pytest.approx(float(min(losses)), rel=1e-4)


def test_the_best_constant_prediction_is_found_for_other_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(1000, 2, generator=generator) ** 3
    centred = targets - targets.median(0).values
    assert best_constant_loss(F.l1_loss, targets, 2) == pytest.approx(float(centred.abs().mean()), rel=1e-4)
    assert best_constant_loss(F.mse_loss, targets, 2) == pytest.approx(
        float(targets.var(0, correction=0).mean()), rel=1e-5
    )
    classes = torch.randint(3, (1000,), generator=generator)
    share = torch.bincount(classes) / 1000
    assert best_constant_loss(F.cross_entropy, classes, 4) == pytest.approx(
        float(-(share * share.log()).sum()), rel=1e-4
    )
    smooth = nn.CrossEntropyLoss(weight=torch.tensor([5.0, 1, 1, 1]), label_smoothing=0.1)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(3000):
        optimizer.zero_grad()
        loss = F.cross_entropy(
            logits.expand(1000, -1), classes, torch.tensor([5.0, 1, 1, 1]).double(), label_smoothing=0.1
        )
        loss.backward()
        optimizer.step()
    assert best_constant_loss(smooth, classes, 4) == pytest.approx(loss.item(), rel=1e-4)
