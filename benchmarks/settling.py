"""VAA at 10,000 steps, with early stop and without, which gives the same value.

States of N sequences and three draws settle, as for a report. What an early stop saves depends on the network: a
monostable one rests at once, one that has been warmed up may never.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Figure, clock, figures, in_turns
from lightning_warmup import warmup
from lightning_warmup.dynamics.functional import vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, run_constant
from lightning_warmup.dynamics.settling import settle
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.recurrent import RecurrentNetwork

DRAWS = 3
CHUNK = 250  # steps at a time


@torch.no_grad()
def settling(name: str, network: Any, N: int, M: int) -> Iterator[Figure]:
    """Measure one network, and how far apart a state ends at most with early stop and without."""
    every = f"{name}, every step"
    size = {"T": 100, "H": network.layers[0].hidden_size, "L": len(network.layers), "N": N, "M": M}
    start = clock()
    layers, states, inputs = draw_reachable_states(network, torch.randn(100, N, 1), None, DRAWS, None)
    yield Figure("settling", f"{name}, sampling", "ms", 1e3 * (clock() - start), **size)
    found: dict[str, Tensor] = {}

    def early_stop() -> None:
        found[name] = settle(layers, states, inputs, M)[0]

    def every_step() -> None:
        last = states
        for begun in range(0, M, CHUNK):
            last = run_constant(layers, inputs, last, min(CHUNK, M - begun))[1]
        found[every] = torch.cat([flatten_state(state) for state in last], dim=1)

    seconds = in_turns({name: early_stop, every: every_step}, budget=0, least=2)
    yield from figures("settling", seconds, [(every, name)], **size)
    for contender, settled in found.items():
        mean = statistics.fmean(float(vaa(ends)) for ends in settled.chunk(DRAWS))
        yield Figure("settling", contender, "VAA", mean, **size)
    distance = torch.linalg.vector_norm(found[name] - found[every], dim=1).max()
    yield Figure("settling", name, "furthest apart", float(distance), **size)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure networks of two layers at initialisation, and one that has been warmed up."""
    H, N, steps = (32, 16, 20) if quick else (128, 64, 100)
    for cell in ("gru", "brc", "nbrc"):
        yield from settling(f"{cell} at initialisation", RecurrentNetwork(1, H, 1, 2, cell), N, 10_000)
    warmed = RecurrentNetwork(1, H, 1, 2, "gru")
    warmup(warmed, torch.randn(100, 512, 1), steps=steps)
    yield from settling(f"gru after {steps} warmup steps", warmed, N, 10_000)
