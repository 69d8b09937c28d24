"""Times one training step of every cell against torch's layers and against a plain loop over time.

    python -m benchmarks.cells [--quick] [--batch 32] [--threads 2]

A training step is a forward and a backward pass through L equal layers, with one input feature and a loss on
the last output. Contenders take turns in one process; tables give the median and, in per cent of it, half the
distance of the quartiles. "loop" is the same step as such cells are commonly run: inputs projected at every
step, states written one by one into an output tensor. On one thread the time is that of the processor, which
other processes disturb less, else that on the wall.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_warmup.cell import GatedCell
from lightning_warmup.cells import cell_by_name, cell_names
from lightning_warmup.gate import Weights, gate_weights

TORCH: dict[str, Any] = {"nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM}


class Stack(nn.Module):
    """Layers of one cell; "loop mgu" is the stack "mgu" run by `plain_loop`."""

    def __init__(self, name: str, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.loop = name.startswith("loop ")
        cell = cell_by_name(name.removeprefix("loop "))
        self.cells = nn.ModuleList(cell(hidden_size if i else 1, hidden_size) for i in range(num_layers))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Returns the outputs of the last layer, (T, B, H)."""
        for cell in self.cells:
            x = plain_loop(cell, x) if self.loop else cell(x)[0]
        return x, None


def plain_loop(cell: Any, x: Tensor) -> Tensor:
    """Runs a cell step by step, (T, B, I) to (T, B, H)."""

    def value(w: Weights, x_t: Tensor, v: Tensor | None = None) -> Tensor:
        terms = [F.linear(x_t, w.weight_ih, w.bias_ih)] if w.weight_ih is not None else []
        if v is not None and w.weight_hh is not None:
            terms.append(F.linear(v, w.weight_hh, w.bias_hh))
        if v is not None and w.weight_diag is not None:
            terms.append(w.weight_diag * v)
        return terms[0] + terms[1] if len(terms) == 2 else terms[0]

    weights = gate_weights(cell)
    h = x.new_zeros(x.size(1), cell.hidden_size)
    output = x.new_zeros(len(x), x.size(1), cell.hidden_size)
    for t in range(len(x)):
        gate = {name: lambda v=None, w=w, t=t: value(w, x[t], v) for name, w in weights.items()}
        h = cell.step(h, SimpleNamespace(**gate))
        output[t] = h
    return output


def make(name: str, hidden_size: int, num_layers: int) -> nn.Module:
    """Returns a stack of layers by the name of its cell, "loop" and its name, or "nn.GRU" or "nn.LSTM"."""
    if name in TORCH:
        return TORCH[name](1, hidden_size, num_layers)
    return Stack(name, hidden_size, num_layers)


def training_step(module: nn.Module, x: Tensor, steps: slice = slice(-1, None)) -> float:
    """Returns the seconds of a forward and a backward pass with a loss on the outputs at ``steps``."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    output, _ = module(x)
    output[steps].square().sum().backward()
    return clock() - start


def measure(modules: dict[str, nn.Module], x: Tensor, repeats: int) -> dict[str, list[float]]:
    """Returns the seconds of training steps, taken in turns; loops, the slowest, take a third of them."""
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for turn in range(repeats + 1):
        for name, module in modules.items():
            if turn == 0:
                training_step(module, x[:2])
            elif turn % 3 == 1 or not name.startswith("loop "):
                seconds[name].append(training_step(module, x))
    return seconds


def table(rows: list[list[str]]) -> None:
    """Prints rows with aligned columns, the first as a heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]), flush=True)


def training(T: int, H: int, L: int, batch: int, repeats: int) -> None:
    """Prints the table of training steps for one size."""
    gated = [name for name in cell_names() if issubclass(cell_by_name(name), GatedCell)]
    names = [*TORCH, *cell_names(), *(f"loop {name}" for name in gated)]
    seconds = measure({name: make(name, H, L) for name in names}, torch.randn(T, batch, 1), repeats)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    rows = [["cell", "ms", "+-%", "/ nn.GRU", "/ nn.LSTM", "loop ms", "loop /"]]
    for name in [*TORCH, *cell_names()]:
        lower, _, upper = statistics.quantiles(seconds[name], n=4)
        row = [name, f"{1e3 * median[name]:.1f}", f"{50 * (upper - lower) / median[name]:.0f}"]
        row += [f"{median[name] / median[other]:.2f}" for other in TORCH]
        loop = median.get(f"loop {name}")
        rows.append(row + (["", ""] if loop is None else [f"{1e3 * loop:.0f}", f"{loop / median[name]:.1f}"]))
    print(f"\nTraining step, T={T} H={H} L={L} batch={batch}")
    table(rows)


def peak_memory(name: str, T: int, H: int, L: int, batch: int) -> float:
    """Returns by how many MB a training step raises this process's peak of resident memory; Linux only."""

    def resident(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    module, x = make(name, H, L), torch.randn(T, batch, 1)
    training_step(module, x[:2])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    training_step(module, x)
    return resident("VmHWM") - before


def memory(T: int, H: int, L: int, batch: int) -> None:
    """Prints the table of peak memory, each contender in a process of its own."""
    peaks = {}
    for name in [*TORCH, *cell_names()]:
        sizes = map(str, (T, H, L, batch))
        command = [sys.executable, "-m", "benchmarks.cells", "--memory", name, *sizes]
        peaks[name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"\nPeak memory of a training step, T={T} H={H} L={L} batch={batch}")
    rows = [[name, f"{peak:.0f}", f"{peak / peaks['nn.GRU']:.2f}"] for name, peak in peaks.items()]
    table([["cell", "MB", "/ nn.GRU"], *rows])


def denormals(T: int, H: int, batch: int) -> None:
    """Prints what a training step costs when its gradient vanishes, and with a loss on all outputs."""
    rows = [["cell", "ms, last output", "ms, all outputs"]]
    for name in ["nn.GRU", "gru", "nn.LSTM", "lstm"]:
        module, x = make(name, H, 1), torch.randn(T, batch, 1)
        last = min(training_step(module, x) for _ in range(3))
        every = min(training_step(module, x, slice(None)) for _ in range(3))
        rows.append([name, f"{1e3 * last:.0f}", f"{1e3 * every:.0f}"])
    print(f"\nVanishing gradients, T={T} H={H} L=1 batch={batch}")
    table(rows)


def processor() -> str:
    """Returns the processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short sequences and few repeats")
    parser.add_argument("--batch", type=int, default=32, help="sequences in a batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument(
        "--memory", nargs=5, metavar=("CELL", "T", "H", "L", "B"), help="print one peak in MB"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.memory:
        name, *sizes = arguments.memory
        print(peak_memory(name, *map(int, sizes)))
        return
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{processor()}, {torch.get_num_threads()} threads; {versions}; {platform.platform()}")
    for T, repeats in [(100, 6)] if arguments.quick else [(100, 12), (600, 6)]:
        for H in (64, 256):
            for L in (1, 2):
                training(T, H, L, arguments.batch, repeats)
    memory(600, 256, 2, arguments.batch)
    denormals(300, 256, arguments.batch)


if __name__ == "__main__":
    main()
