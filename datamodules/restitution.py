"""Information restitution: random sequences, of which the network gives back a part at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.loader import ResumableLoader
from datamodules.sequences import Batch, SequenceDataModule, SequenceDataset, check_positive
from datamodules.streams import stream

# Sequences for each of the test lengths.
SEQUENCES_PER_LENGTH = 256


class GeneratedSequences(SequenceDataset):
    """Sequences in memory with the K values to give back in the last K steps.

    Args:
        sequences: Inputs (N, T, I).
        targets: Values to give back (N, K, O), in the order of the steps.
    """

    def __init__(self, sequences: Tensor, targets: Tensor) -> None:
        super().__init__(length=sequences.shape[1], outputs=targets.shape[1])
        self.sequences = sequences
        self.targets = targets

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, indices: list[int]) -> Batch:
        return self.sequences[indices], self.targets[indices], self.steps


class RestitutionDataModule(SequenceDataModule):
    """Generates each split from a stream of its own; a benchmark is a subclass with one method, ``generate``.

    The training and validation splits are functions of the seed. The test split and the sequences of the test
    lengths are the same for every seed, so that figures of several runs differ by the runs alone. The values
    to give back have mean 0 and variance 1: the best constant prediction is 0, with a mean squared error of
    1.

    Args:
        seq_length: T, steps in a sequence.
        input_size: Values in a step, each of which is given back.
        train_size: Sequences in the training split.
        val_size: Sequences in the validation split.
        test_size: Sequences in the test split.
        test_lengths: Lengths at which the trained network is tested as well, 256 sequences each.
        batch_size: Sequences in a global training batch.
        seed: Seed of training and validation split and of the order of the batches.
        shortest: Least length for which the benchmark is defined; not a setting, a subclass gives it.

    Raises:
        ValueError: If a size is below 1 or a length below ``shortest``.
    """

    task = "regression"
    trivial_loss = 1.0

    def __init__(
        self,
        *,
        seq_length: int = 100,
        input_size: int = 1,
        train_size: int = 4800,
        val_size: int = 1000,
        test_size: int = 1000,
        test_lengths: Sequence[int] = (200, 400, 1000, 3000),
        batch_size: int = 32,
        seed: int = 0,
        shortest: int = 1,
    ) -> None:
        super().__init__(batch_size, seed)
        check_positive(input_size=input_size, train_size=train_size, val_size=val_size, test_size=test_size)
        _check_lengths(shortest, seq_length=[seq_length], test_lengths=test_lengths)
        self.seq_length = seq_length
        self.input_size = input_size
        self.output_size = input_size
        self.test_lengths = tuple(test_lengths)
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}

    @abstractmethod
    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws sequences and what is to be given back of them.

        Args:
            n: Number of sequences N.
            length: T, steps in each.
            generator: The only source of random numbers.

        Returns:
            Sequences (N, T, I) and targets (N, K, O), both float32; the network gives the targets in its last
            K steps.
        """

    def make_split(self, name: str) -> GeneratedSequences:
        """Generates a split from its own stream."""
        seed = 0 if name == "test" else self.seed
        return self._generated(self.sizes[name], self.seq_length, stream(seed, type(self).__name__, name))

    def test_dataloader(self) -> list[ResumableLoader]:
        """A loader of the test split, then one of 256 sequences for each of ``test_lengths``."""
        longer = [self.evaluation_loader(self._at(length)) for length in self.test_lengths]
        return [*super().test_dataloader(), *longer]

    def _at(self, length: int) -> GeneratedSequences:
        return self._generated(SEQUENCES_PER_LENGTH, length, stream(0, type(self).__name__, "length", length))

    def _generated(self, n: int, length: int, generator: torch.Generator) -> GeneratedSequences:
        return GeneratedSequences(*self.generate(n, length, generator))


def _check_lengths(shortest: int, **lengths: Sequence[int]) -> None:
    for name, values in lengths.items():
        for value in values:
            if value < shortest:
                raise ValueError(f"{name}={value}: this benchmark needs at least {shortest} steps")
