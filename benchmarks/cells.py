"""The training step of every cell, against torch's layers and against a plain loop over time.

A training step is a forward and a backward pass through L equal layers, with one input feature and a loss on the
last output. "loop gru" is that step of a GRU as such cells are commonly run, see `reference.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Figure, figures, in_turns
from benchmarks.reference import Looped
from lightning_warmup.cells import cell_by_name, cell_names
from lightning_warmup.cells._gated import GatedCell

TORCH: dict[str, Any] = {"nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM}
LOOP_STEPS = 30_000  # of all sequences of a batch together, beyond which loops take minutes


def make(name: str, H: int, L: int) -> nn.ModuleList:
    """Return L layers of the cell "mgu", of the same in a loop, "loop mgu", or a module of torch, "nn.GRU"."""
    if name in TORCH:
        return nn.ModuleList([TORCH[name](1, H, L)])
    cell = cell_by_name(name.removeprefix("loop "))
    cells = [cell(H if index else 1, H) for index in range(L)]
    return nn.ModuleList(map(Looped, cells) if name.startswith("loop ") else cells)


def train(layers: nn.ModuleList, x: Tensor, outputs: slice = slice(-1, None)) -> Tensor:
    """Run a forward and a backward pass with a loss on some outputs; return all of them, ``(T, B, H)``."""
    for layer in layers:
        x = layer(x)[0]
    x[outputs].square().sum().backward()
    return x.detach()


def training_step(T: int, B: int, H: int, L: int, budget: float) -> list[Figure]:
    """Measure every cell at one size."""
    names = [*TORCH, *cell_names()]
    gated = [name for name in cell_names() if issubclass(cell_by_name(name), GatedCell)]
    loops = [(f"loop {name}", name) for name in gated if T * B <= LOOP_STEPS]
    x = torch.randn(T, B, 1)
    modules = {name: make(name, H, L) for name in [*names, *(loop for loop, _ in loops)]}
    for module in modules.values():
        train(module, x[:2])
    seconds = in_turns({name: partial(train, module, x) for name, module in modules.items()}, budget)
    ratios = [(name, other) for other in TORCH for name in names if name != other]
    return figures("training step", seconds, ratios + loops, T=T, B=B, H=H, L=L)


def vanishing_gradient(T: int, B: int, H: int, budget: float) -> Iterator[Figure]:
    """Compare a loss on the last output, whose gradient falls below the normal numbers, with one on all outputs."""
    x = torch.randn(T, B, 1)
    for name in ("nn.GRU", "gru", "nn.LSTM", "lstm"):
        module = make(name, H, 1)
        last, every = f"{name}, last output", f"{name}, all outputs"
        steps = {last: partial(train, module, x), every: partial(train, module, x, slice(None))}
        yield from figures("vanishing gradient", in_turns(steps, budget), [(last, every)], T=T, B=B, H=H, L=1)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure all sizes."""
    for B in (32,) if quick else (32, 256):
        for T in (100,) if quick else (100, 600):
            for H in (64, 256):
                for L in (1, 2):
                    yield from training_step(T, B, H, L, budget=2 if quick else 10)
    yield from vanishing_gradient(300, 32, 128 if quick else 256, budget=1 if quick else 4)
