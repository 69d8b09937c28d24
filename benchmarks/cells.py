"""The training step of every cell, against torch's layers and against a plain loop over time.

    python -m benchmarks.cells [--quick] [--threads 2]

A training step is a forward and a backward pass through L equal layers, with one input feature and a loss on
the last output. "loop" is the same step as such cells are commonly run, see `benchmarks/reference.py`; where it
would take minutes it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import in_turns, milliseconds, ratio, spread
from benchmarks.page import Table, command
from benchmarks.reference import Looped
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
        """Returns the outputs of the last layer, (T, B, H)."""
        for layer in self.layers:
            x = layer(x)[0]
        return x, None


def make(name: str, hidden_size: int, num_layers: int) -> nn.Module:
    """Returns a stack of layers by the name of its cell, "loop" and its name, or "nn.GRU" or "nn.LSTM"."""
    if name in TORCH:
        return TORCH[name](1, hidden_size, num_layers)
    return Stack(name, hidden_size, num_layers)


def training_step(module: nn.Module, x: Tensor, steps: slice = slice(-1, None)) -> None:
    """Runs a forward and a backward pass with a loss on the outputs at ``steps``."""
    output, _ = module(x)
    output[steps].square().sum().backward()


def training(T: int, H: int, L: int, batch: int, budget: float) -> Table:
    """Returns the table of training steps for one size."""
    names = [*TORCH, *cell_names()]
    gated = [name for name in cell_names() if issubclass(cell_by_name(name), GatedCell)]
    loops = [f"loop {name}" for name in gated] if T * batch <= LOOP_STEPS else []
    x = torch.randn(T, batch, 1)
    modules = {name: make(name, H, L) for name in [*names, *loops]}
    for module in modules.values():
        training_step(module, x[:2])
    seconds = in_turns({name: partial(training_step, m, x) for name, m in modules.items()}, budget)
    rows = [["cell", "ms", "±%", *(f"/ {name}" for name in TORCH), "loop ms", "loop / cell"]]
    for name in names:
        mine, loop = seconds[name], seconds.get(f"loop {name}")
        row = [name, milliseconds(mine), spread(mine), *(f"{ratio(mine, seconds[t]):.2f}" for t in TORCH)]
        rows.append(row + ([milliseconds(loop), f"{ratio(loop, mine):.1f}"] if loop else ["", ""]))
    return Table(f"T={T} H={H} L={L} batch={batch}, {len(seconds['nn.GRU'])} turns", rows)


def tables(quick: bool) -> Iterator[Table]:
    """Yields a table for every size."""
    for batch in (32,) if quick else (32, 256):
        for T in (100,) if quick else (100, 600):
            for H in (64, 256):
                for L in (1, 2):
                    yield training(T, H, L, batch, budget=2 if quick else 10)


if __name__ == "__main__":
    command(__doc__, tables)
