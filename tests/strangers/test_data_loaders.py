"""Training data of every form that Lightning takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import CombinedLoader
from stranger import trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_warmup import MultistabilityMonitor, WarmupStage

SEQUENCES = torch.randn(48, 12, 2, generator=torch.Generator().manual_seed(0))


class Module(LightningModule):
    """Finds its sequences in any structure; notes what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(2, 6)
        self.seen: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        while not isinstance(batch, Tensor):
            batch = list(batch.values())[-1] if isinstance(batch, dict) else batch[0]
        self.seen.append(float(batch.sum()))
        return self.rnn(batch.transpose(0, 1))[0].square().mean()

    def on_train_start(self) -> None:
        self.seen.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


class Scheduled(Module):
    """Reads its data before the stage does."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        steps = max(10, int(self.trainer.estimated_stepping_batches))  # -1 if there is no telling
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(SEQUENCES)


class Endless(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.randn(12, 2)


class Once(IterableDataset[Tensor]):
    def __init__(self) -> None:
        self.rows = iter(SEQUENCES)

    def __iter__(self) -> Iterator[Tensor]:
        return self.rows


class Tensors:
    """Batches of its own making: ``iter`` starts it anew."""

    def __iter__(self) -> Tensors:
        self.rows = iter(SEQUENCES.split(16))
        return self

    def __next__(self) -> Tensor:
        return next(self.rows)

    def __len__(self) -> int:
        return 3


def shuffled(**arguments: Any) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(3)
    rows: Any = SEQUENCES
    return DataLoader(rows, **({"batch_size": 16, "shuffle": True, "generator": generator} | arguments))


SOURCES = {
    "shuffled": shuffled,
    "workers": lambda: shuffled(num_workers=1, persistent_workers=True),
    "batches of one": lambda: shuffled(batch_size=1),
    "less than a batch": lambda: shuffled(batch_size=7, sampler=range(7), shuffle=False),
    "list": lambda: [shuffled(), shuffled(batch_size=4)],
    "dict": lambda: {"a": shuffled(), "b": shuffled(batch_size=4)},
    "combined": lambda: CombinedLoader({"a": shuffled(), "b": shuffled()}, "min_size"),
    "made into batches": lambda: DataLoader(SEQUENCES.split(16), batch_size=None),  # type: ignore[arg-type]
    "batch sampler": lambda: DataLoader(SEQUENCES, batch_sampler=[[0, 1, 2], [5, 6]]),  # type: ignore[arg-type]
    "stream": lambda: DataLoader(Stream(), batch_size=16),
    "endless": lambda: DataLoader(Endless(), batch_size=16),
    "own loader": Tensors,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("stranger", [Module, Scheduled])
def test_training_sees_the_same_data_with_and_without(
    tmp_path: Path, source: str, stranger: type[Module]
) -> None:
    found = []
    callbacks = [WarmupStage(steps=3, lr=1e-9), MultistabilityMonitor(steps=2, count=8)]
    for given in ([], callbacks):
        torch.manual_seed(0)
        module = stranger()
        limit = 2 if source == "endless" else 1.0
        trainer(tmp_path, *given, max_epochs=2, limit_train_batches=limit).fit(module, SOURCES[source]())
        found.append((module.seen, torch.get_rng_state()))
    assert callbacks[0].done  # type: ignore[union-attr]
    assert len(found[0][0]) >= 2
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize(
    "source", [lambda: (rows for rows in SEQUENCES.split(16)), lambda: DataLoader(Once(), batch_size=16)]
)
def test_what_can_be_read_only_once_is_refused(tmp_path: Path, source: Any) -> None:
    with pytest.raises(ValueError, match=r"the training data are a \w+, which can be read only once"):
        trainer(tmp_path, WarmupStage(steps=1)).fit(Module(), source())


def test_no_data_are_no_mistake_if_asked_for_and_one_sequence_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [WarmupStage(steps=1), MultistabilityMonitor(steps=2)]
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        trainer(tmp_path, *stages, limit_train_batches=0).fit(Module(), shuffled())
    assert "Warmup: skipped, limit_train_batches=0 leaves no training data." in caplog.messages
    one = shuffled(sampler=range(1), shuffle=False)
    with pytest.raises(ValueError, match=r"sequences=1: must be at least 2 in the training data"):
        trainer(tmp_path, WarmupStage(steps=1)).fit(Module(), one)


def test_overfitting_warms_up_on_what_it_trains_on(tmp_path: Path) -> None:
    stage = WarmupStage(steps=1, batch_size=48)
    trainer(tmp_path, stage, overfit_batches=1).fit(Module(), shuffled())
    assert stage.result is not None
    assert 16 * stage.result.vaa == pytest.approx(round(16 * stage.result.vaa), abs=1e-4)
