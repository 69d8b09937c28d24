"""The base class of supervised benchmarks: three splits, their loaders, and the loader of the warmup."""

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

# Sequences times steps in an evaluation batch, for any training batch: fast, and small in memory.
EVALUATION_STEPS = 2**16
SEQUENCES_PER_TEST = 256  # at each further length


class SequenceDataset(Dataset[Batch]):
    """Sequences with targets; a list of indices gives a whole batch.

    A batch is ``(sequences, targets, steps)``: sequences (B, T, I) float32, targets (B, K, O) float32 or (B, K)
    int64, and steps int64, the times at which outputs are read. Steps are (K,), or (B, K) if they differ between
    sequences. A sequence with fewer than K steps, but at least one, has -1 in their place; everything after its
    last step is padding.

    Args:
        sequences: All N sequences, (N, T, I).
        targets: Their targets, (N, K, ...).
        length: T of a batch, if a subclass appends steps.
        steps: (K,) or (N, K); None means the last K steps.
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
    """A dataset that is created on first access, and freed when another one is accessed.

    Args:
        size: Number N of sequences.
        length: Their length T.
        make: Creates the dataset.
        held: A list shared by several of these; it holds the one in memory and its dataset.
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
    """Training, validation and test split of a benchmark with outputs at some steps of each sequence.

    A subclass sets the attributes of :class:`datamodules.Benchmark` and makes the splits, each on first use. For
    each name in ``test_names``, it appends a loader to :meth:`test_dataloader`.

    Args:
        settings: Settings of the benchmark; the processes share its global batch size.
        sizes: Number of sequences in the ``train``, ``val`` and ``test`` split.
        seed: Seed of the order of the batches, in training and warmup.

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
        """Make the whole split ``"train"``, ``"val"`` or ``"test"``, the same on every process."""

    def split(self, name: str) -> SequenceDataset:
        """Return the split ``"train"``, ``"val"`` or ``"test"``, which is made only once."""
        if name not in self._splits:
            self._splits[name] = self.make_split(name)
        return self._splits[name]

    def setup(self, stage: str) -> None:
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ()):
            self.split(name)

    def train_dataloader(self) -> ResumableLoader:
        """Return the loader of the training batches, which resumes in the middle of an epoch."""
        return self._loader(self.split("train"), self.batch_size, seed=self.seed)

    def val_dataloader(self) -> ResumableLoader:
        return self.evaluation_loader(self.split("val"))

    def test_dataloader(self) -> list[ResumableLoader]:
        """Return the loader of the test split in a list; a benchmark may append others."""
        return [self.evaluation_loader(self.split("test"))]

    def first_test_batch(self, count: int) -> Batch:
        """Return the first ``count`` test sequences, or all if there are fewer."""
        dataset = self.split("test")
        return dataset[list(range(min(count, len(dataset))))]

    def warmup_dataloader(self, batch_size: int) -> Iterator[Batch]:
        """Yield full training batches without end, with a random stream of their own.

        If there are not enough training sequences, a batch has as many as the processes can share evenly.

        Raises:
            ValueError: If the processes can't share a batch evenly.
        """
        dataset = self.split("train")
        if batch_size > len(dataset):
            batch_size = len(dataset) - len(dataset) % (self.trainer.world_size if self.trainer else 1)
        return endless(self._loader(dataset, batch_size, seed=self.seed, name="warmup", drop_last=True))

    def later_loader(self, size: int, length: int, make: Callable[[], SequenceDataset]) -> ResumableLoader:
        """Return an evaluation loader whose dataset is in memory only while it is read."""
        return self.evaluation_loader(LaterDataset(size, length, make, self._held))

    def evaluation_loader(self, dataset: SequenceDataset | LaterDataset) -> ResumableLoader:
        """Return a loader of every sequence once and in order, in batches of about ``EVALUATION_STEPS`` steps."""
        rows = self.batch_size * max(1, EVALUATION_STEPS // (dataset.length * self.batch_size))
        return self._loader(dataset, rows, shuffle=False)

    def _loader(
        self, dataset: SequenceDataset | LaterDataset, batch_size: int, **order: Any
    ) -> ResumableLoader:
        order["num_replicas"], order["rank"] = processes(self, batch_size)
        return ResumableLoader(dataset, BatchOrder(dataset, batch_size, **order))
