"""Flip-flop: at every read, give back the bit that was last written (Liu et al. 2023, arXiv 2306.00946)."""

import math
from collections.abc import Sequence
from functools import partial

import torch

from datamodules.loader import ResumableLoader
from datamodules.sequences import SEQUENCES_PER_TEST, Batch, SequenceDataModule, SequenceDataset
from datamodules.streams import stream

TOKENS = 5
WRITE, IGNORE, READ, ZERO, ONE = range(TOKENS)


class FlipFlopSequences(SequenceDataset):
    """Tokens that stay bytes (N, T) until a batch of them, (B, T, 5) float32, one-hot, is asked for."""

    def __getitem__(self, indices: list[int]) -> Batch:
        tokens, targets, steps = super().__getitem__(indices)
        return (tokens.unsqueeze(2) == torch.arange(TOKENS)).float(), targets, steps


class FlipFlop(SequenceDataModule):
    """Instructions, each followed by a bit: write it, ignore it, or read the bit that was last written.

    The tokens are those of the flip-flop language: write, ignore, read, 0 and 1. The first instruction is a write,
    the last a read; between them an instruction is ignore with a given probability, and else a write or a read,
    equally likely. The bit that follows a read is the answer, so that its class is asked for at the read itself.

    A batch: sequences (B, T, 5), targets (B, K) of class 0 or 1, steps (B, K), where K is the greatest number of
    reads in a sequence of the split; see :class:`SequenceDataset`.

    Args:
        seq_length: T, tokens in a sequence, two for each instruction; even.
        ignore: Probability that an instruction is ignore, in the three splits and at all lengths.
        test_ignore: Probabilities at which the trained network is tested as well: near 1 it has to hold a bit for
            long, near 0 to overwrite it often. As many sequences as in the test split, of length T.
        train_size, val_size, test_size: Sequences in each split.
        test_lengths: Lengths at which the trained network is tested as well, 256 sequences each; even.
        batch_size, seed: As for :class:`SequenceDataModule`. The test sequences are the same for every seed.

    Attributes:
        holding_inputs: Inputs (3, 5) under which the bit has to be held: the ignore token and both bits.

    Raises:
        ValueError: If a size is below 1, a length below 4 or odd, or a probability not in [0, 1].
    """

    input_size, output_size, task, trivial_loss = TOKENS, 2, "classification", math.log(2)
    holding_inputs = torch.eye(TOKENS)[[IGNORE, ZERO, ONE]]

    def __init__(
        self,
        *,
        seq_length: int = 512,
        ignore: float = 0.8,
        test_ignore: Sequence[float] = (0.98, 0.1),
        train_size: int = 4800,
        val_size: int = 1000,
        test_size: int = 1000,
        test_lengths: Sequence[int] = (1024, 5120),
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__({"train": train_size, "val": val_size, "test": test_size}, batch_size, seed)
        for name, length in [("seq_length", seq_length), *(("test_lengths", each) for each in test_lengths)]:
            if length < 4 or length % 2:
                raise ValueError(f"{name}={length}: must be even and at least 4")
        for name, value in [("ignore", ignore), *(("test_ignore", each) for each in test_ignore)]:
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: must be in [0, 1]")
        self.seq_length, self.test_lengths = seq_length, tuple(test_lengths)
        self.ignore, self.test_ignore = ignore, tuple(test_ignore)

    @property
    def test_names(self) -> tuple[str, ...]:
        return *super().test_names, *(f"ignore/{value:g}" for value in self.test_ignore)

    def make_split(self, name: str) -> SequenceDataset:
        generator = stream(0 if name == "test" else self.seed, "FlipFlop", name)
        return draw(self.sizes[name], self.seq_length, self.ignore, generator)

    def test_dataloader(self) -> list[ResumableLoader]:
        """Return the loader of the test split, then those of ``test_lengths``, then those of ``test_ignore``."""
        tests = [(SEQUENCES_PER_TEST, length, self.ignore) for length in self.test_lengths]
        tests += [(self.sizes["test"], self.seq_length, ignore) for ignore in self.test_ignore]
        return super().test_dataloader() + [
            self.later_loader(n, length, partial(_draw_test, name, n, length, ignore))
            for name, (n, length, ignore) in zip(self.test_names, tests, strict=True)
        ]


def _draw_test(name: str, n: int, length: int, ignore: float) -> FlipFlopSequences:
    return draw(n, length, ignore, stream(0, "FlipFlop", name))


def draw(n: int, length: int, ignore: float, generator: torch.Generator) -> FlipFlopSequences:
    """Draw ``n`` sequences of ``length`` tokens, and find their reads and the answers."""
    chance = torch.rand(n, length // 2, generator=generator)
    instructions = torch.full_like(chance, READ, dtype=torch.uint8)
    instructions[chance < (1 + ignore) / 2] = WRITE
    instructions[chance < ignore] = IGNORE
    instructions[:, 0], instructions[:, -1] = WRITE, READ
    bits = torch.randint(2, chance.shape, generator=generator, dtype=torch.uint8)
    last_write = torch.where(instructions == WRITE, torch.arange(length // 2), 0).cummax(1).values
    reads = instructions == READ
    bits = torch.where(reads, bits.gather(1, last_write), bits)
    row, place = reads.nonzero(as_tuple=True)
    k = (reads.cumsum(1) - 1)[row, place]
    steps = torch.full((n, int(k.max()) + 1), -1)
    steps[row, k] = 2 * place
    targets = torch.zeros_like(steps)
    targets[row, k] = bits[row, place].long()
    tokens = torch.stack([instructions, ZERO + bits], dim=2).flatten(1)
    return FlipFlopSequences(tokens, targets, steps=steps)
