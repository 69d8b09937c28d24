"""The optimisers of a training are as they would be without a stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from stranger import Stranger, loader, trainer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, default_collate

from lightning_warmup import Rest, SideMemory, WarmupStage


class Later(Stranger):
    """Needs what it makes when the training starts, so that the stage waits for the first batch."""

    def on_train_start(self) -> None:
        super().on_train_start()
        self.scale = 1.0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.scale * super().training_step(batch, batch_idx)


class Manual(Later):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def on_train_start(self) -> None:
        super().on_train_start()
        self.optimizer = self.optimizers()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:  # type: ignore[override]
        loss = super().training_step(batch, batch_idx)
        self.optimizer.zero_grad()
        self.manual_backward(loss)
        self.optimizer.step()


class Scheduled(Stranger):
    """Its optimiser is as old as itself: a second schedule would multiply the first."""

    def __init__(self) -> None:
        super().__init__()
        self.optimizer = torch.optim.Adam(self.parameters(), 1e-3)

    def configure_optimizers(self) -> Any:
        return [self.optimizer], [torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=10)]


class SetsRate(Callback):
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.optimizers[0].param_groups[0]["lr"] = 7e-4


class Rates(Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.found.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("module", "others"),
    [
        (Manual, list),
        (Scheduled, list),
        (Stranger, lambda: [SetsRate()]),
        (Later, lambda: [StochasticWeightAveraging(1e-2, swa_epoch_start=1)]),
    ],
    ids=["held by a module", "scheduled", "set by a callback", "averaged weights"],
)
def test_what_is_done_to_an_optimizer_before_the_stage_stays(
    tmp_path: Path, module: Any, others: Any
) -> None:
    found = []
    for stages in ([], [WarmupStage(steps=2)]):
        rates = Rates()
        fit = trainer(tmp_path, *others(), *stages, rates, max_steps=6, max_epochs=3)
        fit.fit(module(), loader())
        states = [len(optimizer.state) for optimizer in fit.optimizers]
        found.append((fit.global_step, rates.found, states))
    assert found[0] == found[1]


class Pair(NamedTuple):
    sequences: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Frozen:
    """A batch of a class of its own."""

    pair: Any

    def to(self, *arguments: Any, **settings: Any) -> Frozen:
        return Frozen([tensor.to(*arguments, **settings) for tensor in self.pair])


class OfFrozen(Stranger):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch.pair, batch_idx)


def test_a_batch_of_a_class_of_its_own(tmp_path: Path) -> None:
    batches = DataLoader(
        loader().dataset, batch_size=16, collate_fn=lambda rows: Frozen(default_collate(rows))
    )
    stage = WarmupStage(steps=2)
    trainer(tmp_path, stage).fit(OfFrozen(), batches)
    assert stage.done


class Pulled(torch.optim.SGD):
    """Draws the weights to an average of them that it holds."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.parameters(), 0.0)
        self.average = AveragedModel(module).double()
        self.pulled = module

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for weight, average in zip(self.pulled.parameters(), self.average.module.parameters(), strict=True):
            weight.copy_(average)
        return loss


class Averaging(Stranger):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return Pulled(self.rnn)


def test_a_model_that_an_optimizer_holds_is_brought_up_to_date(tmp_path: Path) -> None:
    module, left = Averaging(), []

    class Note(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            left.append(module.rnn.weight_hh_l0.detach().clone())

    trainer(tmp_path, WarmupStage(steps=5), Note()).fit(module, loader())
    assert torch.equal(module.rnn.weight_hh_l0, left[0])


class InPlace(Stranger):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        batch[0].sub_(5.0)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("kind", [list, tuple, Pair._make])
def test_a_step_that_changes_its_batch_in_place_trains_on_the_same_data(tmp_path: Path, kind: Any) -> None:
    seen = []
    for stages in ([], [WarmupStage(steps=3)]):
        sequences = torch.randn(2, 6000, 20, 1, generator=torch.Generator().manual_seed(0))
        data = [kind(pair) for pair in zip(sequences, sequences[:, :, 0], strict=True)]
        batches = DataLoader(data, batch_size=None, collate_fn=lambda pair: pair)  # hands out its own
        module = InPlace()
        trainer(tmp_path, *stages).fit(module, batches)
        seen.append(module.seen)
    assert seen[0] == seen[1]


class Backward(LightningModule):
    """Differentiates its loss by itself, or as Lightning asks for."""

    def __init__(self, by_itself: bool, rnn: nn.Module) -> None:
        super().__init__()
        self.by_itself, self.rnn, self.head = by_itself, rnn, nn.Linear(12, 1)
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        _, h_n = self.rnn(batch[0])
        loss = nn.functional.mse_loss(self.head(h_n[-1]), batch[1])
        loss.backward() if self.by_itself else self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


@pytest.mark.parametrize("by_itself", [False, True])
def test_an_objective_that_could_not_act_is_told(
    tmp_path: Path, by_itself: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stage = WarmupStage(objective=Rest(steps=2, regularize=0.1))
    module = Backward(by_itself, nn.GRU(1, 12, batch_first=True))
    with caplog.at_level("INFO"):
        trainer(tmp_path, stage, max_epochs=2).fit(module, loader())
    assert caplog.text.count("call self.manual_backward(loss)") == by_itself


class Seldom(Backward):
    """Trains on every other batch, and leaves no gradients behind."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if batch_idx % 2:
            super().training_step(batch, batch_idx)
            self.zero_grad()


def test_an_objective_that_had_no_occasion_to_act_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = WarmupStage(objective=Rest(steps=2, regularize=0.1))
    with caplog.at_level("INFO"):
        trainer(tmp_path, stage, max_epochs=2).fit(Seldom(False, nn.GRU(1, 12, batch_first=True)), loader())
    assert "manual_backward" not in caplog.text


@pytest.mark.parametrize("kind", [Backward, Seldom])
def test_a_memory_that_is_not_read_is_told(
    tmp_path: Path, kind: type[Backward], caplog: pytest.LogCaptureFixture
) -> None:
    module = kind(False, SideMemory("gru", 1, 12, batch_first=True))
    with caplog.at_level("INFO"):
        trainer(tmp_path, WarmupStage(steps=2), max_epochs=2).fit(module, loader())
    assert caplog.text.count("take last_output(h_n)") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"network": 3}, "network=3: must be the name of an attribute"),
        ({"sequences": "x"}, "sequences=x: must be a function"),
        ({"seed": 1.5}, "seed=1.5: must be a whole number"),
        ({"batch_size": "32"}, "batch_size=32: must be a whole number"),
        ({"batch_size": 1}, "batch_size=1: must be at least 2"),
        ({"lr": "fast"}, "lr=fast: must be a number above 0"),
    ],
)
def test_arguments_are_checked_at_once(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WarmupStage(**arguments)


def test_batches_of_different_lengths_are_cut_within_their_own(tmp_path: Path) -> None:
    lengths = [3] * 16 + [40] * 48
    data = [(torch.randn(length, 1), torch.zeros(1)) for length in lengths]
    batches = DataLoader(data, batch_size=16)  # type: ignore[arg-type]
    seen = []

    class Looks(WarmupStage):
        def run(self, rnn: nn.Module, batches: Any) -> Any:
            seen.append(next(batches))
            return super().run(rnn, batches)

    trainer(tmp_path, Looks(steps=1, batch_size=64)).fit(Stranger(), batches)
    sequences, ends = seen[0]
    assert sequences.shape == (40, 64, 1)
    assert sum(end <= 3 for end in ends.tolist()) >= 16
    assert max(ends) > 20
