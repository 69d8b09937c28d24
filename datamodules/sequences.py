"""What every supervised benchmark shares: three splits, their loaders, and the loader of the warmup."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.loader import BatchOrder, ResumableLoader, endless

Batch = tuple[Tensor, Tensor, Tensor]

# Sequences times steps in an evaluation batch, whatever the training batch: large enough to be fast, small in
# memory.
EVALUATION_STEPS = 2**16


class SequenceDataset(Dataset[Batch], ABC):
    """Sequences of one length with targets at K steps; indexed by a list, it gives a whole batch.

    A batch is ``(sequences, targets, steps)``: sequences (B, T, I) float32, targets (B, K, O) float32 or (B,
    K) int64, and steps (K,) int64, the time indices at which the K outputs are read, the same for all.

    Args:
        length: T, steps in a sequence.
        outputs: K; they are read at the last K steps.
    """

    def __init__(self, length: int, outputs: int) -> None:
        self.length = length
        self.steps = torch.arange(length - outputs, length)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, indices: list[int]) -> Batch: ...


class SequenceDataModule(LightningDataModule, ABC):
    """Train, validation and test split of a benchmark whose module learns from marked steps of sequences.

    A subclass sets the four attributes and makes the splits, each when it is first needed.

    Args:
        batch_size: Sequences in a global training batch, divided by the number of processes.
        seed: Seed of the order of the training batches and of the warmup's.

    Attributes:
        input_size: I, features of a step.
        output_size: O, features or classes of an output.
        task: Whether targets are values or classes.
        trivial_loss: Loss of the best constant prediction, if it is known.
        test_lengths: Further lengths, for each of which :meth:`test_dataloader` appends a loader.
    """

    input_size: int
    output_size: int
    task: Literal["regression", "classification"]
    trivial_loss: float | None = None
    test_lengths: tuple[int, ...] = ()

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__()
        check_positive(batch_size=batch_size)
        self.batch_size = batch_size
        self.seed = seed
        self._splits: dict[str, SequenceDataset] = {}

    @abstractmethod
    def make_split(self, name: str) -> SequenceDataset:
        """Makes ``"train"``, ``"val"`` or ``"test"``, all of it, the same on every process."""

    def split(self, name: str) -> SequenceDataset:
        """Returns ``"train"``, ``"val"`` or ``"test"``, which is made only once."""
        if name not in self._splits:
            self._splits[name] = self.make_split(name)
        return self._splits[name]

    def setup(self, stage: str) -> None:
        """Makes the splits of a stage."""
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ()):
            self.split(name)

    def train_dataloader(self) -> ResumableLoader:
        """Batches in an order that is a function of seed and epoch; goes on in the middle of an epoch."""
        return self._training_loader(self.batch_size, "order")

    def val_dataloader(self) -> ResumableLoader:
        """The validation split, in order."""
        return self.evaluation_loader(self.split("val"))

    def test_dataloader(self) -> list[ResumableLoader]:
        """A list of the loader of the test split; a benchmark may append some of further lengths."""
        return [self.evaluation_loader(self.split("test"))]

    def first_test_batch(self, count: int) -> Batch:
        """The first ``count`` test sequences as one batch, or all if there are fewer; the same on every process."""
        dataset = self.split("test")
        return dataset[list(range(min(count, len(dataset))))]

    def warmup_dataloader(self, batch_size: int) -> Iterator[Batch]:
        """Yields full training batches without end, in a random stream that training does not share.

        Args:
            batch_size: Sequences in a global batch, of which each process gets its share.

        Raises:
            ValueError: If there are fewer training sequences, or the processes cannot share a batch evenly.
        """
        size = len(self.split("train"))
        if batch_size > size:
            raise ValueError(f"batch_size={batch_size}: the warmup has only {size} training sequences")
        return endless(self._training_loader(batch_size, "warmup", drop_last=True))

    def evaluation_loader(self, dataset: SequenceDataset) -> ResumableLoader:
        """Every sequence once and in order, in batches of about ``EVALUATION_STEPS`` steps."""
        rows = self.batch_size * max(1, EVALUATION_STEPS // (dataset.length * self.batch_size))
        world_size, rank = self._processes()
        order = BatchOrder(dataset, rows, shuffle=False, num_replicas=world_size, rank=rank)
        return ResumableLoader(dataset, order)

    def _training_loader(self, batch_size: int, name: str, drop_last: bool = False) -> ResumableLoader:
        dataset = self.split("train")
        world_size, rank = self._processes()
        order = BatchOrder(
            dataset,
            batch_size,
            seed=self.seed,
            name=name,
            num_replicas=world_size,
            rank=rank,
            drop_last=drop_last,
        )
        return ResumableLoader(dataset, order)

    def _processes(self) -> tuple[int, int]:
        if self.trainer is None:
            return 1, 0
        return self.trainer.world_size, self.trainer.global_rank


def check_positive(**sizes: int) -> None:
    """Raises a ValueError that names the first of the sizes that is below 1."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
