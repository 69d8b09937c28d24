"""What every supervised benchmark shares: three splits, their loaders, and the loader of the warmup."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset

from configs.data import Data
from datamodules.loader import BatchOrder, ResumableLoader, endless, processes

Batch = tuple[Tensor, Tensor, Tensor]

# Sequences times steps in an evaluation batch, whatever the training batch: fast, and small in memory.
EVALUATION_STEPS = 2**16
SEQUENCES_PER_TEST = 256  # of a greater length


class SequenceDataset(Dataset[Batch]):
    """Sequences with targets; indexed by a list of numbers, it gives a whole batch.

    A batch is ``(sequences, targets, steps)``: sequences (B, T, I) float32, targets (B, K, O) float32 or (B, K)
    int64, and steps int64, the time indices at which the outputs are read: (K,), or (B, K) where each sequence has
    its own, at least one of them, and -1 where it has fewer than K; what follows the last of them is padding.

    Args:
        sequences, targets: Of all N sequences, (N, T, I) and (N, K, ...).
        length: T of a batch, if a subclass makes its sequences longer.
        steps: (K,) or (N, K); None is the last K steps.
    """

    def __init__(
        self, sequences: Tensor, targets: Tensor, length: int | None = None, steps: Tensor | None = None
    ) -> None:
        self.sequences, self.targets = sequences, targets
        self.length = length or sequences.shape[1]
        self.steps = torch.arange(self.length - targets.shape[1], self.length) if steps is None else steps

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, indices: list[int]) -> Batch:
        steps = self.steps if self.steps.dim() == 1 else self.steps[indices]
        return self.sequences[indices], self.targets[indices], steps


class LaterDataset(Dataset[Batch]):
    """A dataset that is made when a batch of it is asked for, and dropped when a batch of another one is.

    Args:
        size, length: N and T of the sequences.
        make: Makes the dataset.
        held: Holds whose dataset is there, and that; shared by those of which one is there at a time.
    """

    def __init__(self, size: int, length: int, make: Callable[[], SequenceDataset], held: list[Any]) -> None:
        self.size, self.length, self.make, self.held = size, length, make, held

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, indices: list[int]) -> Batch:
        if self.held[:1] != [self]:
            self.held[:] = []  # before another one is made
            self.held[:] = [self, self.make()]
        dataset: SequenceDataset = self.held[1]
        return dataset[indices]


class SequenceDataModule(LightningDataModule, ABC):
    """Train, validation and test split of a benchmark whose module learns from marked steps of sequences.

    A subclass sets the attributes of :class:`datamodules.Benchmark` and makes the splits, each when it is first
    needed. For each of ``test_names``, :meth:`test_dataloader` appends a loader.

    Args:
        settings: Settings of the benchmark, of which the batch size is a global one, divided by the processes.
        sizes: Sequences in the ``train``, ``val`` and ``test`` split.
        seed: Seed of the order of the training batches and of the warmup's.

    Attributes:
        trivial_loss: Loss of the best constant prediction on the test split, by default computed from its targets.
    """

    input_size: int
    output_size: int
    task: Literal["regression", "classification"]
    test_lengths: tuple[int, ...] = ()

    def __init__(self, settings: Data, sizes: dict[str, int], seed: int) -> None:
        super().__init__()
        self.settings, self.sizes, self.seed = settings, sizes, seed
        self.batch_size = settings.batch_size
        self._splits: dict[str, SequenceDataset] = {}
        self._held: list[Any] = []

    @property
    def trivial_loss(self) -> float | None:
        """Return the variance of the test targets, or the entropy of their classes."""
        test = self.split("test")
        targets = test.targets if test.steps.dim() == 1 else test.targets[test.steps >= 0]
        if self.task == "regression":
            return float(targets.flatten(0, -2).var(0, correction=0).mean())
        return float(torch.special.entr(targets.flatten().bincount() / targets.numel()).sum())

    @property
    def test_names(self) -> tuple[str, ...]:
        """Names of the loaders after the first of ``test_dataloader()``, such as ``length/200``."""
        return tuple(f"length/{length}" for length in self.test_lengths)

    @abstractmethod
    def make_split(self, name: str) -> SequenceDataset:
        """Make ``"train"``, ``"val"`` or ``"test"``, all of it, the same on every process."""

    def split(self, name: str) -> SequenceDataset:
        """Return ``"train"``, ``"val"`` or ``"test"``, which is made only once."""
        if name not in self._splits:
            self._splits[name] = self.make_split(name)
        return self._splits[name]

    def setup(self, stage: str) -> None:
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ()):
            self.split(name)

    def train_dataloader(self) -> ResumableLoader:
        """Return the training batches, in an order that resumes in the middle of an epoch."""
        return self._loader(self.split("train"), self.batch_size, seed=self.seed)

    def val_dataloader(self) -> ResumableLoader:
        return self.evaluation_loader(self.split("val"))

    def test_dataloader(self) -> list[ResumableLoader]:
        """Return the loader of the test split, in a list to which a benchmark may append further ones."""
        return [self.evaluation_loader(self.split("test"))]

    def first_test_batch(self, count: int) -> Batch:
        """Return the first ``count`` test sequences, or all if there are fewer; the same on every process."""
        dataset = self.split("test")
        return dataset[list(range(min(count, len(dataset))))]

    def warmup_dataloader(self, batch_size: int) -> Iterator[Batch]:
        """Return full training batches without end, in a random stream that training does not share.

        If there are fewer training sequences, a batch has as many of them as the processes can share evenly.

        Raises:
            ValueError: If the processes cannot share a batch evenly.
        """
        dataset = self.split("train")
        if batch_size > len(dataset):
            batch_size = len(dataset) - len(dataset) % (self.trainer.world_size if self.trainer else 1)
        return endless(self._loader(dataset, batch_size, seed=self.seed, name="warmup", drop_last=True))

    def later_loader(self, size: int, length: int, make: Callable[[], SequenceDataset]) -> ResumableLoader:
        """Return an evaluation loader whose dataset is in memory only while its batches are asked for."""
        return self.evaluation_loader(LaterDataset(size, length, make, self._held))

    def evaluation_loader(self, dataset: SequenceDataset | LaterDataset) -> ResumableLoader:
        """Return every sequence once and in order, in batches of about ``EVALUATION_STEPS`` steps."""
        rows = self.batch_size * max(1, EVALUATION_STEPS // (dataset.length * self.batch_size))
        return self._loader(dataset, rows, shuffle=False)

    def _loader(
        self, dataset: SequenceDataset | LaterDataset, batch_size: int, **order: Any
    ) -> ResumableLoader:
        order["num_replicas"], order["rank"] = processes(self, batch_size)
        return ResumableLoader(dataset, BatchOrder(dataset, batch_size, **order))
