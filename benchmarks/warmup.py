"""The warmup stage, against sampling one sequence at a time.

Whole steps: states sampled and settled, gradient, Adam. Against them the same steps with the same draws as they are
commonly written, see `reference.py`: gated cells in a loop over time, the GRU as `torch.nn.GRU`.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.measure import Figure, figures, in_turns
from benchmarks.reference import Looped, warmup_one_by_one
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.procedures.result import WarmupStep
from lightning_warmup.procedures.warmup import Warmup, WarmupPlan

LONGEST = 200  # stabilisation; each step draws its own from 1..200


def as_commonly_written(cell: Any) -> nn.Module:
    """Return a copy of a cell: a GRU as torch has it, another cell in a loop."""
    if type(cell).__name__ != "GRU":
        return Looped(copy.deepcopy(cell))
    layer = nn.GRU(cell.input_size, cell.hidden_size)
    layer.load_state_dict(cell.state_dict())
    return layer


def both(
    cell: str, T: int, B: int, H: int, L: int, steps: int
) -> tuple[dict[str, list[float]], list[WarmupStep], list[float]]:
    """Warm up both ways in turns from the same weights; return all seconds, the steps, the losses one by one."""
    network = RecurrentNetwork(1, H, 1, L, cell)
    batches = [torch.randn(T, B, 1) for _ in range(steps)]
    slow = warmup_one_by_one([*map(as_commonly_written, network.layers)], batches, LONGEST)
    objective = Published(max_stabilization=LONGEST, stabilization_ramp=LONGEST)
    fast = iter(Warmup(network, [(sequences, None) for sequences in batches], WarmupPlan(objective, steps)))
    found: list[WarmupStep] = []
    losses: list[float] = []
    contenders = {
        cell: lambda: found.append(next(fast)),
        f"{cell}, one by one": lambda: losses.append(next(slow)),
    }
    return in_turns(contenders, budget=0, least=steps), found, losses


def warmup(cell: str, T: int, B: int, H: int, L: int, steps: int) -> Iterator[Figure]:
    """Measure one cell; the first step, with M = 1, is not counted. M is the mean stabilisation."""
    seconds, found, _ = both(cell, T, B, H, L, steps)
    seconds = {name: times[1:] for name, times in seconds.items()}
    size = {"T": T, "B": B, "H": H, "L": L, "M": round(statistics.fmean(s.stabilization for s in found[1:]))}
    yield from figures("warmup", seconds, [(f"{cell}, one by one", cell)], **size)
    for name, times in seconds.items():  # extrapolated from the mean, since steps differ in M
        yield Figure("warmup", name, "s for 100 steps", 100 * statistics.fmean(times), **size)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure the GRU and the nBRC."""
    for cell in ("gru", "nbrc"):
        yield from warmup(cell, 100, 32, 64, 2, steps=4) if quick else warmup(cell, 300, 32, 256, 2, steps=8)
