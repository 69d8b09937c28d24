"""The warmup against a warmup one sequence at a time, and VAA after 10,000 steps with and without an early stop.

A warmup step samples states, lets them settle, and updates the weights with Adam. It is compared with the step as
it is commonly written, see `reference.py`, with the same random draws: gated cells run in a loop over time, the GRU
as `torch.nn.GRU`. For VAA, the states of N sequences settle under three constant inputs, as for a report; both ways
give the same value. What an early stop gains depends on the network: a monostable one rests at once, one that was
warmed up may never rest.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import lightning_warmup
from benchmarks.measure import Measurement, clock, in_turns, medians
from benchmarks.reference import Looped, warmup_one_by_one
from lightning_warmup.dynamics.functional import vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, run_constant
from lightning_warmup.dynamics.settling import settle
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.result import WarmupStep
from lightning_warmup.procedures.warmup import warmup_steps

LONGEST = 200  # constant steps; each warmup step draws their number from 1..200
DRAWS = 3  # of the constant input
CHUNK = 250  # steps at a time


def as_commonly_written(cell: Any) -> nn.Module:
    """Return a copy of a cell: a GRU as ``torch.nn.GRU``, another cell in a loop."""
    if type(cell).__name__ != "GRU":
        return Looped(copy.deepcopy(cell))
    layer = nn.GRU(cell.input_size, cell.hidden_size)
    layer.load_state_dict(cell.state_dict())
    return layer


def both(
    cell: str, T: int, B: int, H: int, L: int, steps: int
) -> tuple[dict[str, list[float]], list[WarmupStep], list[float]]:
    """Warm up in both ways from the same weights; return the seconds, our steps, and the other way's losses."""
    network = RecurrentNetwork(1, H, 1, L, cell)
    batches = [torch.randn(T, B, 1) for _ in range(steps)]
    slow = warmup_one_by_one([*map(as_commonly_written, network.layers)], batches, LONGEST)
    objective = Published(steps=steps, max_stabilization=LONGEST, stabilization_ramp=LONGEST)
    fast = warmup_steps(network, [(sequences, None) for sequences in batches], WarmupPlan(objective))
    found: list[WarmupStep] = []
    losses: list[float] = []
    contenders = {
        cell: lambda: found.append(next(fast)),
        f"{cell}, one by one": lambda: losses.append(next(slow)),
    }
    return in_turns(contenders, budget=0, least=steps), found, losses


def warmup(cell: str, T: int, B: int, H: int, L: int, steps: int) -> Iterator[Measurement]:
    """Measure one cell, without the first step, whose M is 1. M is the mean number of constant steps."""
    seconds, found, _ = both(cell, T, B, H, L, steps)
    seconds = {name: times[1:] for name, times in seconds.items()}
    size = {"T": T, "B": B, "H": H, "L": L, "M": round(statistics.fmean(s.stabilization for s in found[1:]))}
    yield from medians("warmup", seconds, [(f"{cell}, one by one", cell)], **size)
    for name, times in seconds.items():  # extrapolated from the mean, since steps differ in M
        yield Measurement("warmup", name, "s for 100 steps", 100 * statistics.fmean(times), **size)


def measure_warmup(quick: bool) -> Iterator[Measurement]:
    """Measure the GRU and the nBRC."""
    for cell in ("gru", "nbrc"):
        yield from warmup(cell, 100, 32, 64, 2, steps=4) if quick else warmup(cell, 300, 32, 256, 2, steps=8)


@torch.no_grad()
def settling(name: str, network: Any, N: int, M: int) -> Iterator[Measurement]:
    """Measure one network, and the largest distance between a state's ends with and without an early stop."""
    every = f"{name}, every step"
    size = {"T": 100, "H": network.layers[0].hidden_size, "L": len(network.layers), "N": N, "M": M}
    start = clock()
    layers, states, inputs = draw_reachable_states(network, torch.randn(100, N, 1), None, DRAWS, None)
    yield Measurement("settling", f"{name}, sampling", "ms", 1e3 * (clock() - start), **size)
    found: dict[str, Tensor] = {}

    def early_stop() -> None:
        found[name] = settle(layers, states, inputs, M)[0]

    def every_step() -> None:
        last = states
        for begun in range(0, M, CHUNK):
            last = run_constant(layers, inputs, last, min(CHUNK, M - begun))[1]
        found[every] = torch.cat([flatten_state(state) for state in last], dim=1)

    seconds = in_turns({name: early_stop, every: every_step}, budget=0, least=2)
    yield from medians("settling", seconds, [(every, name)], **size)
    for contender, settled in found.items():
        mean = statistics.fmean(float(vaa(ends)) for ends in settled.chunk(DRAWS))
        yield Measurement("settling", contender, "VAA", mean, **size)
    distance = torch.linalg.vector_norm(found[name] - found[every], dim=1).max()
    yield Measurement("settling", name, "furthest apart", float(distance), **size)


def measure_settling(quick: bool) -> Iterator[Measurement]:
    """Measure networks of two layers at initialisation, and one that has been warmed up."""
    H, N, steps = (32, 16, 20) if quick else (128, 64, 100)
    for cell in ("gru", "brc", "nbrc"):
        yield from settling(f"{cell} at initialisation", RecurrentNetwork(1, H, 1, 2, cell), N, 10_000)
    warmed = RecurrentNetwork(1, H, 1, 2, "gru")
    lightning_warmup.warmup(warmed, torch.randn(100, 512, 1), steps=steps)
    yield from settling(f"gru after {steps} warmup steps", warmed, N, 10_000)
