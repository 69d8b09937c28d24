"""What a vanishing gradient costs.

    python -m benchmarks.vanishing [--quick] [--threads 2]

With a loss on the last output alone the gradient of the first steps falls below the smallest normal number, on
which processors are slow; with a loss on all outputs it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.cells import make, training_step
from benchmarks.measure import in_turns, milliseconds, ratio
from benchmarks.page import Table, command


def vanishing(T: int, H: int, batch: int, budget: float) -> Table:
    """Returns the table for one layer."""
    rows = [["cell", "ms, last output", "ms, all outputs", "last / all"]]
    for name in ["nn.GRU", "gru", "nn.LSTM", "lstm"]:
        module, x = make(name, H, 1), torch.randn(T, batch, 1)
        last, every = (partial(training_step, module, x, steps) for steps in (slice(-1, None), slice(None)))
        seconds = in_turns({"last": last, "all": every}, budget)
        figures = [milliseconds(seconds["last"]), milliseconds(seconds["all"])]
        rows.append([name, *figures, f"{ratio(seconds['last'], seconds['all']):.1f}"])
    return Table(f"Training step, T={T} H={H} L=1 batch={batch}", rows)


def tables(quick: bool) -> Iterator[Table]:
    """Yields the table."""
    yield vanishing(300, 128 if quick else 256, 32, budget=1 if quick else 4)


if __name__ == "__main__":
    command(__doc__, tables)
