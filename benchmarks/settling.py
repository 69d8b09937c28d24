"""VAA at 10,000 steps, with early stop and without, which gives the same value.

States of N sequences and three draws settle, as for a report. What an early stop saves depends on the network: a
monostable one rests at once, one that has been warmed up may never.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Figure, clock, figures, in_turns
from lightning_warmup import warmup
from lightning_warmup.dynamics.functional import vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, run_constant
from lightning_warmup.dynamics.settling import settle
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.networks.recurrent import RecurrentNetwork

DRAWS = 3
CHUNK = 250  # steps at a time


@torch.no_grad()
def settle_all(layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int) -> Tensor:
    """Return what ``settle`` returns first, ``(N, H)`` of all layers, without an early stop."""
    for start in range(0, steps, CHUNK):
        states = run_constant(layers, input, states, min(CHUNK, steps - start))[1]
    return torch.cat([flatten_state(state) for state in states], dim=1)


@torch.no_grad()
def settling(name: str, network: Any, N: int, M: int) -> Iterator[Figure]:
    """Measure one network, and how far apart a state ends at most with early stop and without."""
    H, L, every = network.layers[0].hidden_size, len(network.layers), f"{name}, every step"
    figure = partial(Figure, "settling", T=100, H=H, L=L, N=N, M=M)
    start = clock()
    layers, states, inputs = draw_reachable_states(network, torch.randn(100, N, 1), None, DRAWS, None)
    yield figure(f"{name}, sampling", "ms", 1e3 * (clock() - start))
    found: dict[str, Tensor] = {}
    contenders = {
        name: lambda: found.update({name: settle(layers, states, inputs, M)[0]}),
        every: lambda: found.update({every: settle_all(layers, states, inputs, M)}),
    }
    seconds = in_turns(contenders, budget=0, least=2)
    yield from figures("settling", seconds, [(every, name)], T=100, H=H, L=L, N=N, M=M)
    for contender, settled in found.items():
        mean = statistics.fmean(float(vaa(states)) for states in settled.chunk(DRAWS))
        yield figure(contender, "VAA", mean)
    distance = torch.linalg.vector_norm(found[name] - found[every], dim=1).max()
    yield figure(name, "furthest apart", float(distance))


def measure(quick: bool) -> Iterator[Figure]:
    """Measure networks of two layers at initialisation, and one that has been warmed up."""
    H, N, steps = (32, 16, 20) if quick else (128, 64, 100)
    for cell in ("gru", "brc", "nbrc"):
        yield from settling(f"{cell} at initialisation", RecurrentNetwork(1, H, 1, 2, cell), N, 10_000)
    warmed = RecurrentNetwork(1, H, 1, 2, "gru")
    warmup(warmed, torch.randn(100, 512, 1), steps=steps)
    yield from settling(f"gru after {steps} warmup steps", warmed, N, 10_000)
