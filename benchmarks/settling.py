"""The measure of multistability at 10,000 steps, with early stop and without.

States of N sequences and three draws, as for a report, settle under a constant input. `settle` lets those go that will
hardly move any more; without it all of them run all the steps. Both must give the same VAA. A monostable network
rests at once, one that has been warmed up may never: what is saved depends on the network.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.measure import clock, figures, in_turns
from benchmarks.results import Figure
from lightning_warmup import warmup
from lightning_warmup.dynamics.functional import vaa
from lightning_warmup.dynamics.reachable import run_stack, sampled
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
        states = run_stack(layers, states, input, min(CHUNK, steps - start))[1]
    return torch.cat([flatten_state(state) for state in states], dim=1)


@torch.no_grad()
def settling(name: str, network: RecurrentNetwork, H: int, N: int, M: int) -> Iterator[Figure]:
    """Measure one network of two layers, and how far apart a state ends at most with early stop and without."""
    subject, size, every = "settling", {"T": 100, "H": H, "L": 2, "N": N, "M": M}, f"{name}, every step"
    start = clock()
    layers, states, inputs = sampled(network, torch.randn(100, N, 1), None, DRAWS, None)
    yield Figure(subject, f"{name}, sampling", "ms", 1e3 * (clock() - start), size)
    found: dict[str, Tensor] = {}
    contenders = {
        name: lambda: found.update({name: settle(layers, states, inputs, M)[0]}),
        every: lambda: found.update({every: settle_all(layers, states, inputs, M)}),
    }
    yield from figures(subject, size, in_turns(contenders, budget=0, least=2), [(every, name)])
    for contender, settled in found.items():
        mean = statistics.fmean(float(vaa(states)) for states in settled.chunk(DRAWS))
        yield Figure(subject, contender, "VAA", mean, size)
    distance = torch.linalg.vector_norm(found[name] - found[every], dim=1).max()
    yield Figure(subject, name, "furthest apart", float(distance), size)


def networks(H: int, warmup_steps: int) -> Iterator[tuple[str, RecurrentNetwork]]:
    """Yield networks of two layers by what they are."""
    for cell in ("gru", "brc", "nbrc"):
        yield f"{cell} at initialisation", RecurrentNetwork(1, H, 1, 2, cell)
    warmed = RecurrentNetwork(1, H, 1, 2, "gru")
    warmup(warmed, torch.randn(100, 512, 1), steps=warmup_steps)
    yield f"gru after {warmup_steps} warmup steps", warmed


def measure(quick: bool) -> Iterator[Figure]:
    """Measure networks at initialisation and one that has been warmed up."""
    H, N, warmup_steps = (32, 16, 20) if quick else (128, 64, 100)
    for name, network in networks(H, warmup_steps):
        yield from settling(name, network, H, N, 10_000)
