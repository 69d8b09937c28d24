"""How time grows with the length of sequences, units, batch, and states that are compared, doubling by doubling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.cells import make, train
from benchmarks.measure import Figure, figures, in_turns
from lightning_warmup.dynamics.functional import vaa, vaa_star

CELLS = ("nn.GRU", "gru", "mgu", "nbrc", "brc")


def training(T: int, B: int, H: int) -> dict[str, Callable[[], object]]:
    """Return the training step of one layer of every cell."""
    x = torch.randn(T, B, 1)
    steps = {name: partial(train, make(name, H, 1)) for name in CELLS}
    for step in steps.values():
        step(x[:2])
    return {name: partial(step, x) for name, step in steps.items()}


def comparing(N: int, H: int) -> dict[str, Callable[[], object]]:
    """Return the comparison of N states by VAA, and by VAA* with its gradient."""
    states = torch.randn(N, H, requires_grad=True)
    return {"vaa": lambda: vaa(states.detach()), "vaa_star": lambda: vaa_star(states).backward()}


def growth(name: str, first: int, doublings: int, budget: float, **others: int) -> Iterator[Figure]:
    """Measure contenders while the size ``name`` doubles from its first value on."""
    contenders = comparing if name == "N" else training
    for doubling in range(doublings + 1):
        size = others | {name: first * 2**doubling}
        yield from figures(f"growth with {name}", in_turns(contenders(**size), budget), **size)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure everything that grows."""
    budget, doublings = (0.3, 2) if quick else (2, 4)
    yield from growth("T", 100, doublings, budget, B=32, H=64)
    yield from growth("H", 32, doublings, budget, T=100, B=32)
    yield from growth("B", 16, doublings + 1, budget, T=100, H=64)
    yield from growth("N", 64, doublings + 1, budget, H=256)
