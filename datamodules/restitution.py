"""Information restitution: random sequences, of which the network gives back a part at the end."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from datamodules.loader import ResumableLoader, check_positive
from datamodules.sequences import SEQUENCES_PER_TEST, SequenceDataModule, SequenceDataset
from datamodules.streams import stream


class RestitutionDataModule(SequenceDataModule):
    """Splits of generated sequences; a benchmark is a subclass with one method, ``generate``.

    The test sequences are the same for every seed. The values to give back have mean 0 and variance 1: the best
    constant prediction is 0, with a loss of 1.

    Args:
        seq_length: T, steps in a sequence.
        input_size: I, values in a step, each of which is given back.
        train_size, val_size, test_size: Sequences in each split.
        test_lengths: Lengths at which the trained network is tested as well, 256 sequences each.
        batch_size, seed: As for :class:`SequenceDataModule`.
        shortest: Least T for which the benchmark is defined; not a setting, a subclass gives it.

    Raises:
        ValueError: If a size is below 1 or a length below ``shortest``.
    """

    task, trivial_loss = "regression", 1.0

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
        super().__init__({"train": train_size, "val": val_size, "test": test_size}, batch_size, seed)
        check_positive(input_size=input_size)
        for name, length in [("seq_length", seq_length), *(("test_lengths", each) for each in test_lengths)]:
            if length < shortest:
                raise ValueError(f"{name}={length}: must be at least {shortest} in this benchmark")
        self.seq_length = seq_length
        self.input_size = self.output_size = input_size
        self.test_lengths = tuple(test_lengths)

    @abstractmethod
    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sequences (n, T, I) of ``length`` T and targets (n, K, O), to be given in the last K steps.

        Both are float32, and ``generator`` is the only source of random numbers.
        """

    def make_split(self, name: str) -> SequenceDataset:
        generator = stream(0 if name == "test" else self.seed, type(self).__name__, name)
        return self._draw(self.sizes[name], self.seq_length, generator)

    def test_dataloader(self) -> list[ResumableLoader]:
        """Return the loader of the test split, then one of 256 sequences for each of ``test_lengths``."""
        further = [
            self.later_loader(SEQUENCES_PER_TEST, length, partial(self._draw_test, length))
            for length in self.test_lengths
        ]
        return super().test_dataloader() + further

    def _draw_test(self, length: int) -> SequenceDataset:
        return self._draw(SEQUENCES_PER_TEST, length, stream(0, type(self).__name__, "length", length))

    def _draw(self, n: int, length: int, generator: torch.Generator) -> SequenceDataset:
        drawn = self.generate(n, length, generator)
        shapes = [tuple(tensor.shape) for tensor in drawn]
        steps = shapes[1][1] if len(shapes) == 2 and len(shapes[1]) > 1 else 0
        if not 1 <= steps <= length or shapes != [(n, length, self.input_size), (n, steps, self.output_size)]:
            wanted = f"sequences ({n}, {length}, {self.input_size}) and targets ({n}, K, {self.output_size})"
            raise ValueError(
                f"{type(self).__name__}.generate: must return {wanted}, K <= {length}, not {shapes[:2]}"
            )
        return SequenceDataset(*drawn)
