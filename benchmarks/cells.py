"""Times one training step of every cell against torch's layers and a plain loop over time.

    python -m benchmarks.cells [--quick]

Forward and backward of a stack of L equal layers, batch 32, one input feature, a loss on the last output; no
optimiser. Contenders take turns in one process; the table has the median and, in per cent, half the distance
between the quartiles. "loop" is the same step run as such cells are commonly written: the input is projected at
every step, and every state is written into an output tensor. On one thread processor time is measured, which
other processes disturb less; else the time on the wall.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_warmup.cell import GatedCell
from lightning_warmup.cells import cell_by_name, cell_names
from lightning_warmup.gate import Weights, gate_weights

BATCH = 32
TORCH = {"nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM, "nn.RNN": nn.RNN}


class Stack(nn.Module):
    """Layers of one cell, one after the other, run by the cell itself or by the loop."""

    def __init__(self, name: str, hidden_size: int, num_layers: int, loop: bool = False) -> None:
        super().__init__()
        sizes = [1] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(cell_by_name(name)(size, hidden_size) for size in sizes)
        self.loop = loop

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Returns the output of the last layer, (T, B, H)."""
        for cell in self.cells:
            x = plain_loop(cell, x) if self.loop else cell(x)[0]
        return x, None


def plain_loop(cell: GatedCell, x: Tensor) -> Tensor:
    """Runs a cell step by step, (T, B, I) to (T, B, H)."""

    def value(weights: Weights, x: Tensor, v: Tensor | None = None) -> Tensor:
        parts = []
        if weights.weight_ih is not None:
            parts.append(F.linear(x, weights.weight_ih, weights.bias_ih))
        if weights.weight_hh is not None and v is not None:
            parts.append(F.linear(v, weights.weight_hh, weights.bias_hh))
        if weights.weight_diag is not None and v is not None:
            parts.append(weights.weight_diag * v)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    weights = gate_weights(cell)
    h = x.new_zeros(x.size(1), cell.hidden_size)
    output = x.new_zeros(len(x), x.size(1), cell.hidden_size)
    for t in range(len(x)):
        gates = {name: lambda v=None, w=w, t=t: value(w, x[t], v) for name, w in weights.items()}
        h = cell.step(h, SimpleNamespace(**gates))
        output[t] = h
    return output


def clock() -> float:
    """Returns seconds of the processor on one thread, else of the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def training_step(module: Callable[[Tensor], tuple[Tensor, object]], x: Tensor) -> tuple[float, float]:
    """Returns the seconds of a forward and of a forward and backward pass."""
    start = clock()
    output, _ = module(x)
    middle = clock()
    output[-1].square().sum().backward()
    return middle - start, clock() - start


def measure(modules: dict[str, nn.Module], x: Tensor, repeats: int) -> dict[str, tuple[float, float]]:
    """Returns for each module the median and the relative half quartile distance of its training step."""
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for turn in range(repeats + 1):
        for name, module in modules.items():
            if name.startswith("loop") and turn > max(1, repeats // 3):
                continue
            _, total = training_step(module, x)
            if turn:  # the first warms up caches and allocators
                seconds[name].append(total)
    results = {}
    for name, times in seconds.items():
        quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
        results[name] = statistics.median(times), (quartiles[2] - quartiles[0]) / 2 / statistics.median(times)
    return results
