"""Flip-flop: at every read, output the bit that was last written (Liu et al. 2023, arXiv 2306.00946)."""

import math
from functools import partial

import torch
from torch import Tensor

from configs import data
from datamodules.generated import GeneratedDataModule
from datamodules.loader import ResumableLoader
from datamodules.sequences import Batch, SequenceDataset
from datamodules.streams import stream
from lightning_warmup.proofs.automata import Automaton

TOKENS = 5
WRITE, IGNORE, READ, ZERO, ONE = range(TOKENS)


class FlipFlopSequences(SequenceDataset):
    """Tokens stored as bytes (N, T); a batch is (B, T, 5) float32, one-hot."""

    def __init__(self, tokens: Tensor, targets: Tensor, steps: Tensor) -> None:
        super().__init__(tokens, targets, steps=steps)

    def __getitem__(self, indices: list[int]) -> Batch:
        tokens, targets, steps = super().__getitem__(indices)
        return (tokens.unsqueeze(2) == torch.arange(TOKENS)).float(), targets, steps


class FlipFlop(GeneratedDataModule):
    """Instructions, each followed by a bit: write it, ignore it, or read the bit that was last written.

    The tokens are write, ignore, read, 0 and 1. The first instruction is a write, the last a read. Each one between
    them is an ignore with a given probability, and otherwise a write or a read with equal probability. The bit
    after a read is the answer; the network must give it at the read, before it sees the bit.

    A batch: sequences (B, T, 5), targets (B, K) of class 0 or 1, steps (B, K), where K is the largest number of
    reads in a sequence of the split; see :class:`SequenceDataset`.

    Attributes:
        holding_inputs: Inputs (3, 5) during which the network must remember: the ignore token and both bits.
    """

    input_size, output_size, task, trivial_loss = TOKENS, 2, "classification", math.log(2)
    holding_inputs = torch.eye(TOKENS)[[IGNORE, ZERO, ONE]]

    def __init__(self, settings: data.FlipFlop, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.ignore, self.test_ignore = settings.ignore, tuple(settings.test_ignore)

    @property
    def test_names(self) -> tuple[str, ...]:
        return *super().test_names, *(f"ignore/{value:g}" for value in self.test_ignore)

    @property
    def longest(self) -> int:
        """Symbols of a training sequence."""
        return self.seq_length

    def length_of(self, symbols: int) -> int:
        """Return the length of a sequence: its number of symbols."""
        return symbols

    def automaton(self) -> Automaton:
        """Return the language; a state says which bit is held, and which instruction is waiting for its bit."""
        moves = {("start", "write"): "write"}
        for bit in ("0", "1"):
            held, ignore, read = f"hold {bit}", f"ignore, hold {bit}", f"read {bit}"
            moves |= {("write", bit): held, (read, bit): held, (ignore, "0"): held, (ignore, "1"): held}
            moves |= {(held, "write"): "write", (held, "ignore"): ignore, (held, "read"): read}
        states = list(dict.fromkeys(["start", *moves.values()]))
        symbols = dict(zip(("write", "ignore", "read", "0", "1"), torch.eye(TOKENS), strict=True))
        return Automaton(states, symbols, moves, {"read 0": 0, "read 1": 1})

    def draw(self, n: int, length: int, generator: torch.Generator) -> FlipFlopSequences:
        """Return ``n`` sequences of ``length`` tokens as a dataset."""
        return FlipFlopSequences(*self.generate(n, length, generator))

    def generate(
        self, n: int, length: int, generator: torch.Generator, ignore: float | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw tokens uint8 (n, T), the answers (n, K), and the steps of the reads (n, K)."""
        ignore = self.ignore if ignore is None else ignore
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
        return torch.stack([instructions, ZERO + bits], dim=2).flatten(1), targets, steps

    def test_dataloader(self) -> list[ResumableLoader]:
        """Return the loader of the test split, then those of ``test_lengths``, then those of ``test_ignore``."""
        n, length = self.sizes["test"], self.seq_length
        return super().test_dataloader() + [
            self.later_loader(n, length, partial(self._draw_other_ignore, ignore))
            for ignore in self.test_ignore
        ]

    def _draw_other_ignore(self, ignore: float) -> FlipFlopSequences:
        generator = stream(0, "FlipFlop", f"ignore/{ignore:g}")
        return FlipFlopSequences(*self.generate(self.sizes["test"], self.seq_length, generator, ignore))
