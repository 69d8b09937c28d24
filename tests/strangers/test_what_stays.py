"""What a stage must not change: the training data, what the module holds, and the weights if it fails."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from stranger import Stranger, trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from lightning_warmup import MultistabilityMonitor, Published, WarmupDiverged, WarmupStage, warmup
from lightning_warmup.callbacks.pretrain import PretrainStage
from lightning_warmup.callbacks.unchanged import unchanged
from lightning_warmup.procedures.pretrain import PretrainPlan, pretrain_steps

SEQUENCES = torch.randn(48, 12, 1, generator=torch.Generator().manual_seed(0))


class Noisy(Dataset[Tensor]):
    """Adds noise of generators of its own."""

    def __init__(self) -> None:
        self.generators = {"numpy": np.random.default_rng(0), "torch": torch.Generator().manual_seed(0)}
        self.legacy, self.python = np.random.RandomState(0), random.Random(0)

    def __len__(self) -> int:
        return len(SEQUENCES)

    def __getitem__(self, index: int) -> Tensor:
        noise = self.legacy.normal() + self.python.gauss(0, 1) + self.generators["numpy"].normal()
        return SEQUENCES[index] + noise + torch.randn(12, 1, generator=self.generators["torch"])


class Shuffler(Sampler[int]):
    """Another order in each epoch, and notes what it gave."""

    def __init__(self) -> None:
        self.epoch, self.given = 0, list[int]()

    def __len__(self) -> int:
        return len(SEQUENCES)

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        self.given += [self.epoch]
        return iter(np.random.default_rng(self.epoch + sum(self.given)).permutation(len(SEQUENCES)))


class Stream(IterableDataset[Tensor]):
    """Counts its epochs, in a tensor and in an array."""

    def __init__(self) -> None:
        self.epoch, self.array = torch.zeros(()), np.zeros(2)

    def __iter__(self) -> Iterator[Tensor]:
        self.epoch += 1
        self.array[1] += 1
        yield from SEQUENCES + self.epoch + float(self.array[1])


class Resetting:
    """Its own iterator, without a length: ``iter`` starts it anew."""

    def __iter__(self) -> Resetting:
        self.left = list(SEQUENCES.split(16))
        return self

    def __next__(self) -> Tensor:
        if not self.left:
            raise StopIteration
        return self.left.pop()


def collating() -> DataLoader[Any]:
    """A generator that a function alone knows."""
    generator = np.random.default_rng(0)
    rows: Any = SEQUENCES
    return DataLoader(rows, 16, collate_fn=lambda rows: torch.stack(rows) + generator.normal())


SOURCES = {
    "dataset": lambda: DataLoader(Noisy(), 16),
    "sampler": lambda: DataLoader(SEQUENCES, 16, sampler=Shuffler()),  # type: ignore[arg-type]
    "stream": lambda: DataLoader(Stream(), 16),
    "resetting": Resetting,
    "collating": collating,
}


class Counting(Stranger):
    """Counts in attributes, a list and a buffer before it calls the network, and trains on what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.counts = 0, list[int]()
        self.register_buffer("mean", torch.zeros(()))
        self.noise = np.random.default_rng(0)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:  # type: ignore[override]
        self.count += 1
        self.counts.append(self.count)
        self.mean.mul_(0.9).add_(batch.mean())  # type: ignore[operator]
        self.seen.append(float(batch.sum()) + float(self.mean) + self.noise.normal())
        return self.rnn(batch + self.mean + sum(self.counts))[0].square().mean()


class Held(LightningDataModule):
    """Makes another data set each time it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def train_dataloader(self) -> DataLoader[Any]:
        self.asked += 1
        return DataLoader(SEQUENCES + self.asked, 16)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [*SOURCES, "datamodule"])
def test_the_training_sees_the_same_data_whoever_draws_them(tmp_path: Path, source: str) -> None:
    found = []
    callbacks = [
        PretrainStage(steps=1, lr=1e-9),
        WarmupStage(steps=4, lr=1e-9),
        MultistabilityMonitor(steps=2),
    ]
    for given in ([], callbacks):
        torch.manual_seed(0)
        module = Counting()
        data = Held() if source == "datamodule" else SOURCES[source]()
        trainer(tmp_path, *given, max_epochs=2).fit(module, data)
        found.append((module.seen, module.count, module.counts, float(module.mean)))  # type: ignore[arg-type]
    assert all(callback.done for callback in callbacks[:2])  # type: ignore[union-attr]
    assert len(found[0][0]) == 6
    assert found[0] == found[1]


class Once:
    """Goes on where it was read last."""

    def __init__(self) -> None:
        self.left = (rows for rows in SEQUENCES.split(16))

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> Tensor:
        return next(self.left)


def test_its_own_iterator_that_does_not_start_anew_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the training data are a Once, which can be read only once"):
        trainer(tmp_path, WarmupStage(steps=1)).fit(Counting(), Once())


def test_what_things_hold_is_put_back_however_deep() -> None:
    class Thing:
        pass

    outer, inner, network = Thing(), Thing(), nn.Linear(1, 1)
    outer.held = [{"inner": inner}, network]  # type: ignore[attr-defined]
    inner.back, inner.names, inner.large = outer, {"a"}, torch.zeros(200_000)  # type: ignore[attr-defined]
    with unchanged([outer], but=network):
        inner.names.add("b")  # type: ignore[attr-defined]
        inner.new = outer.held.pop()  # type: ignore[attr-defined]
        inner.large += 1  # type: ignore[attr-defined]
        network.extra = 1  # type: ignore[assignment]
    assert inner.names == {"a"}  # type: ignore[attr-defined]
    assert not hasattr(inner, "new")
    assert outer.held[1] is network  # type: ignore[attr-defined]
    assert network.extra == 1
    assert inner.large.any()  # type: ignore[attr-defined]  # data, not a counter


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_weights_stay_if_a_warmup_ends_early(error: type[BaseException]) -> None:
    network = nn.GRU(1, 8)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    calls = 0

    class Failing(Published):
        def layer_loss(self, layer: Any) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise error
            return super().layer_loss(layer)

    with pytest.raises(error):
        warmup(network, torch.randn(10, 64, 1), objective=Failing())
    assert calls == 3
    assert all(map(torch.equal, before, network.parameters()))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_number_that_is_none_is_named_and_the_network_warms_up_afterwards() -> None:
    torch.manual_seed(0)
    network, sequences = nn.GRU(1, 8), torch.randn(10, 32, 1)
    bad = sequences.clone()
    bad[3, 5] = torch.nan
    message = "^sequences: must be finite, there are NaN or infinite values in 1 of 32 at warmup step 0$"
    with pytest.raises(ValueError, match=message):
        warmup(network, bad, steps=3)
    assert len(warmup(network, sequences, objective=Published(steps=3, extension=1))) == 3


def test_weights_stay_if_a_warmup_diverges_in_a_fit(tmp_path: Path) -> None:
    module, stage = Stranger(), WarmupStage(lr=3e37)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    with pytest.raises(WarmupDiverged) as caught:
        trainer(tmp_path, stage).fit(module, DataLoader([(x, x[0]) for x in SEQUENCES], 16))  # type: ignore[arg-type]
    assert caught.tb is not None  # which holds the frames of the fit
    assert all(map(torch.equal, before, module.parameters()))
    assert not stage.done


def test_weights_stay_if_a_pretraining_ends_early() -> None:
    network = nn.GRU(1, 8)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    good = torch.randn(10, 8, 1)
    with pytest.raises(ValueError, match="at pretraining step 2"):
        list(pretrain_steps(network, [(good, None), (good, None), (good / 0, None)], PretrainPlan(steps=3)))
    assert all(map(torch.equal, before, network.parameters()))
    assert all(parameter.grad is None for parameter in network.parameters())
