"""The warmup stage, against sampling one sequence at a time.

    python -m benchmarks.warmup [--quick] [--threads 2]

Steps of `lightning_warmup.procedures.warmup.Warmup`, whole: states sampled and settled, gradient, Adam. Against
them the same steps, with the same draws, as they are commonly written (`benchmarks/reference.py`): every sequence
sampled by itself, gated cells in a loop over time, the GRU on `torch.nn.GRU`. Both go from the same weights, step
by step in turns, with stabilisations drawn from 1..200. A hundred steps are extrapolated from those timed.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.measure import clock, milliseconds, ratio, spread
from benchmarks.page import Table, command
from benchmarks.reference import Looped, warmup_one_by_one
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.procedures.warmup import Warmup, WarmupPlan

LONGEST = 200  # stabilisation


def as_commonly_written(network: RecurrentNetwork) -> list[nn.Module]:
    """Returns a copy of a network's layers: GRUs as torch has them, other cells in a loop."""
    layers: list[nn.Module] = []
    for cell in copy.deepcopy(network.layers):
        if type(cell).__name__ == "GRU":
            layers.append(nn.GRU(cell.input_size, cell.hidden_size))
            layers[-1].load_state_dict(cell.state_dict())
        else:
            layers.append(Looped(cell))
    return layers


def stage(cell: str, T: int, H: int, L: int, batch: int, steps: int) -> list[tuple[float, ...]]:
    """Returns for each step: seconds here and one by one, loss here and one by one, and its stabilisation M."""
    network = RecurrentNetwork(1, H, 1, L, cell)
    batches = [torch.randn(T, batch, 1) for _ in range(steps)]
    slow = warmup_one_by_one(as_commonly_written(network), batches, LONGEST, LONGEST)
    objective = Published(max_stabilization=LONGEST, stabilization_ramp=LONGEST)
    pairs = [(sequences, None) for sequences in batches]
    fast = iter(Warmup(network, pairs, WarmupPlan(objective, steps)))
    figures = []
    for _ in range(steps):
        start = clock()
        step = next(fast)
        middle = clock()
        loss = next(slow)
        figures.append((middle - start, clock() - middle, step.loss, loss, step.stabilization))
    return figures


def warmup(T: int, H: int, L: int, batch: int, steps: int) -> Table:
    """Returns the table of the GRU and the nBRC; the first step, with M = 1, is not counted."""
    rows = [["cell", "mean M", "ms", "one by one, ms", "one by one / here", "±%"]]
    rows[0] += ["100 steps, s, extrapolated", "one by one, extrapolated"]
    for cell in ("gru", "nbrc"):
        _, *timed = stage(cell, T, H, L, batch, steps)
        here, other, _, _, stabilizations = map(list, zip(*timed, strict=True))
        ratios = [slow / fast for slow, fast in zip(other, here, strict=True)]
        row = [cell, f"{statistics.fmean(stabilizations):.0f}", milliseconds(here), milliseconds(other)]
        row += [f"{ratio(other, here):.1f}", spread(ratios)]
        rows.append(row + [f"{100 * statistics.fmean(seconds):.0f}" for seconds in (here, other)])
    return Table(f"T={T} H={H} L={L} batch={batch}, {steps - 1} steps", rows)


def tables(quick: bool) -> Iterator[Table]:
    """Yields the table."""
    yield warmup(100, 64, 2, 32, steps=4) if quick else warmup(300, 256, 2, 32, steps=8)


if __name__ == "__main__":
    command(__doc__, tables)
