"""The base class of benchmarks with random sequences."""

from abc import abstractmethod
from functools import partial

import torch
from torch import Tensor

from configs.data import Generated
from datamodules.loader import ResumableLoader
from datamodules.sequences import SEQUENCES_PER_TEST, SequenceDataModule, SequenceDataset
from datamodules.streams import stream


class GeneratedDataModule(SequenceDataModule):
    """Splits of random sequences; a benchmark is a subclass with one method, ``generate``.

    The test sequences are the same for every seed.
    """

    def __init__(self, settings: Generated, seed: int = 0) -> None:
        sizes = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}
        super().__init__(settings, sizes, seed)
        self.seq_length, self.test_lengths = settings.seq_length, tuple(settings.test_lengths)

    @abstractmethod
    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw sequences (n, T, I) of ``length`` T, and the targets of the last K steps.

        Targets are float32 (n, K, O) for regression, class numbers int64 (n, K) for classification. For outputs at
        other steps, also return ``steps`` int64 (n, K), with -1 if a sequence has fewer than K. ``generator`` is
        the only source of random numbers.
        """

    def draw(self, n: int, length: int, generator: torch.Generator) -> SequenceDataset:
        """Return ``n`` generated sequences as a dataset, after a check of shapes and types."""
        sequences, targets, *steps = self.generate(n, length, generator)
        count = targets.shape[1] if targets.dim() > 1 else 0
        ends = (count, self.output_size) if self.task == "regression" else (count,)
        fits = sequences.shape == (n, length, self.input_size) and targets.shape == (n, *ends)
        if not (fits and 1 <= count <= length and targets.is_floating_point() == (self.task == "regression")):
            kind = f"float (n, K, {self.output_size})" if self.task == "regression" else "int64 (n, K)"
            wanted = f"sequences ({n}, {length}, {self.input_size}) and targets {kind}, K <= {length}"
            found = f"{tuple(sequences.shape)} and {targets.dtype} {tuple(targets.shape)}"
            raise ValueError(f"{type(self).__name__}.generate: must return {wanted}, not {found}")
        return SequenceDataset(sequences, targets, steps=steps[0] if steps else None)

    def make_split(self, name: str) -> SequenceDataset:
        generator = stream(0 if name == "test" else self.seed, type(self).__name__, name)
        return self.draw(self.sizes[name], self.seq_length, generator)

    def test_dataloader(self) -> list[ResumableLoader]:
        """Return the loader of the test split, then one of 256 sequences for each of ``test_lengths``."""
        further = [
            self.later_loader(SEQUENCES_PER_TEST, length, partial(self._draw_test, length))
            for length in self.test_lengths
        ]
        return super().test_dataloader() + further

    def _draw_test(self, length: int) -> SequenceDataset:
        return self.draw(SEQUENCES_PER_TEST, length, stream(0, type(self).__name__, "length", length))
