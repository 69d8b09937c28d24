"""How time grows with the length of sequences, units, batch, and states that are compared.

    python -m benchmarks.growth [--quick] [--threads 2]

A training step is that of `benchmarks/cells.py`, of one layer. Every row doubles the one before, so that a
doubling of 2.0 is linear growth and one of 4.0 quadratic.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch

from benchmarks.cells import make, training_step
from benchmarks.measure import in_turns, milliseconds
from benchmarks.page import Table, command
from lightning_warmup.dynamics.functional import vaa, vaa_star

CELLS = ("nn.GRU", "gru", "mgu", "nbrc", "brc")


def growth(
    title: str, name: str, values: Sequence[int], contenders: Callable[[int], Mapping], budget: float
) -> Table:
    """Returns the table of contenders at every value of what grows, and by what the last doubling multiplies."""
    seconds = {value: in_turns(contenders(value), budget) for value in values}
    columns = list(seconds[values[0]])
    rows = [[str(value), *(milliseconds(seconds[value][c]) for c in columns)] for value in values]
    before, last = ({c: statistics.median(seconds[v][c]) for c in columns} for v in values[-2:])
    doubling = [f"{last[c] / before[c]:.1f}" for c in columns]
    return Table(title, [[name, *columns], *rows, ["last doubling x", *doubling]])


def training(T: int, H: int, batch: int) -> dict[str, Callable[[], None]]:
    """Returns training steps of one layer of every cell."""
    x = torch.randn(T, batch, 1)
    steps = {name: partial(training_step, make(name, H, 1)) for name in CELLS}
    for step in steps.values():
        step(x[:2])
    return {name: partial(step, x) for name, step in steps.items()}


def comparing(N: int, H: int) -> dict[str, Callable[[], object]]:
    """Returns the comparison of N states, by the measure, and by its surrogate with a gradient."""
    states = torch.randn(N, H, requires_grad=True)
    return {
        "vaa": lambda: vaa(states.detach()),
        "vaa_star, with gradient": lambda: vaa_star(states).backward(),
    }


def doublings(first: int, count: int) -> list[int]:
    """Returns ``count`` numbers from ``first`` on, each twice the one before."""
    return [first * 2**index for index in range(count)]


def tables(quick: bool) -> Iterator[Table]:
    """Yields a table for each thing that grows."""
    budget, count = (0.3, 3) if quick else (2, 5)
    lengths, sizes, batches = doublings(100, count), doublings(32, count), doublings(16, count + 1)
    title = "Training step, ms, "
    yield growth(f"{title}H=64 batch=32", "T", lengths, lambda T: training(T, 64, 32), budget)
    yield growth(f"{title}T=100 batch=32", "H", sizes, lambda H: training(100, H, 32), budget)
    yield growth(f"{title}T=100 H=64", "batch", batches, lambda B: training(100, 64, B), budget)
    states = doublings(64, count + 1)
    yield growth("Comparing states, ms, H=256", "N", states, lambda N: comparing(N, 256), budget)


if __name__ == "__main__":
    command(__doc__, tables)
