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

from benchmarks.measure import figures, in_turns
from benchmarks.reference import Looped
from benchmarks.results import Figure
from lightning_warmup.cells import cell_by_name, cell_names
from lightning_warmup.cells._gated import GatedCell

TORCH: dict[str, Any] = {"nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM}
LOOP_STEPS = 30_000  # of all sequences of a batch together, beyond which loops take minutes


class Stack(nn.Module):
    """Layers of one cell with torch's call; "loop mgu" is the stack "mgu", run in a loop."""

    def __init__(self, name: str, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        cell = cell_by_name(name.removeprefix("loop "))
        cells = [cell(hidden_size if index else 1, hidden_size) for index in range(num_layers)]
        self.layers = nn.ModuleList(map(Looped, cells) if name.startswith("loop ") else cells)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the outputs of the last layer, ``(T, B, H)``."""
        for layer in self.layers:
            x = layer(x)[0]
        return x, None


def make(name: str, hidden_size: int, num_layers: int) -> nn.Module:
    """Return a stack of layers by the name of its cell, "loop" and its name, or "nn.GRU" or "nn.LSTM"."""
    if name in TORCH:
        return TORCH[name](1, hidden_size, num_layers)
    return Stack(name, hidden_size, num_layers)


def train(module: nn.Module, x: Tensor, outputs: slice = slice(-1, None)) -> None:
    """Run a forward and a backward pass with a loss on some outputs."""
    output, _ = module(x)
    output[outputs].square().sum().backward()


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
    return figures("training step", {"T": T, "B": B, "H": H, "L": L}, seconds, ratios + loops)


def vanishing_gradient(T: int, B: int, H: int, budget: float) -> Iterator[Figure]:
    """Measure what a loss on the last output costs against one on all outputs.

    With the former the gradient of the first steps falls below the smallest normal number, on which processors are
    slow.
    """
    x = torch.randn(T, B, 1)
    for name in ("nn.GRU", "gru", "nn.LSTM", "lstm"):
        module = make(name, H, 1)
        last, every = f"{name}, last output", f"{name}, all outputs"
        steps = {last: partial(train, module, x), every: partial(train, module, x, slice(None))}
        size = {"T": T, "B": B, "H": H, "L": 1}
        yield from figures("vanishing gradient", size, in_turns(steps, budget), [(last, every)])


def measure(quick: bool) -> Iterator[Figure]:
    """Measure all sizes."""
    for B in (32,) if quick else (32, 256):
        for T in (100,) if quick else (100, 600):
            for H in (64, 256):
                for L in (1, 2):
                    yield from training_step(T, B, H, L, budget=2 if quick else 10)
    yield from vanishing_gradient(300, 32, 128 if quick else 256, budget=1 if quick else 4)
