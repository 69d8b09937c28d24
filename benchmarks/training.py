"""Training steps of every cell, compared with torch's layers and a plain loop over time: time, memory, growth.

A training step is a forward and a backward pass through L equal layers, with one input feature and a loss on the
last output. "loop gru" is that step for a GRU in a plain loop, see `reference.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Measurement, in_new_process, in_turns, medians
from benchmarks.reference import Looped
from lightning_warmup.cells import cell_by_name, cell_names
from lightning_warmup.cells._gated import GatedCell
from lightning_warmup.dynamics.functional import vaa, vaa_star
from lightning_warmup.networks import SideMemory

TORCH: dict[str, Any] = {"nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM}
LOOP_STEPS = 30_000  # of all sequences in a batch together; with more, loops take minutes
GROWING = ("nn.GRU", "gru", "mgu", "nbrc", "brc")


def make(name: str, H: int, L: int) -> nn.ModuleList:
    """Return L layers by name: "mgu" for a cell, "loop mgu" for the cell in a loop, "nn.GRU" for torch's layer.

    "memory gru" is a GRU with a memory at its side, and about as many parameters as a GRU of H units.
    """
    if name in TORCH:
        return nn.ModuleList([TORCH[name](1, H, L)])
    if name.startswith("memory "):
        return nn.ModuleList([SideMemory(name.removeprefix("memory "), 1, 2 * round(H / 2**0.5), L)])
    cell = cell_by_name(name.removeprefix("loop "))
    cells = [cell(H if index else 1, H) for index in range(L)]
    return nn.ModuleList(map(Looped, cells) if name.startswith("loop ") else cells)


def train(layers: nn.ModuleList, x: Tensor, outputs: slice = slice(-1, None)) -> Tensor:
    """Run a forward and a backward pass with a loss on some outputs; return all outputs, ``(T, B, H)``."""
    for layer in layers:
        x = layer(x)[0]
    x[outputs].square().sum().backward()
    return x.detach()


def training(names: Sequence[str], T: int, B: int, H: int, L: int = 1) -> dict[str, Callable[[], object]]:
    """Return the training step of every contender, after a first run on two time steps."""
    x = torch.randn(T, B, 1)
    modules = {name: make(name, H, L) for name in names}
    for module in modules.values():
        train(module, x[:2])
    return {name: partial(train, module, x) for name, module in modules.items()}


def training_step(T: int, B: int, H: int, L: int, budget: float) -> list[Measurement]:
    """Measure every cell at one size."""
    names = [*TORCH, *cell_names()]
    gated = [name for name in cell_names() if issubclass(cell_by_name(name), GatedCell)]
    loops = [(f"loop {name}", name) for name in gated if T * B <= LOOP_STEPS]
    seconds = in_turns(training([*names, *(loop for loop, _ in loops)], T, B, H, L), budget)
    ratios = [(name, other) for other in TORCH for name in names if name != other]
    return medians("training step", seconds, ratios + loops, T=T, B=B, H=H, L=L)


def vanishing_gradient(T: int, B: int, H: int, budget: float) -> Iterator[Measurement]:
    """Compare a loss on the last output, whose gradient becomes denormal, with a loss on all outputs."""
    for name, step in training(["nn.GRU", "gru", "nn.LSTM", "lstm"], T, B, H).items():
        last, every = f"{name}, last output", f"{name}, all outputs"
        seconds = in_turns({last: step, every: partial(step, outputs=slice(None))}, budget)
        yield from medians("vanishing gradient", seconds, [(last, every)], T=T, B=B, H=H, L=1)


def measure_cells(quick: bool) -> Iterator[Measurement]:
    """Measure the training step at all sizes."""
    batches, lengths = ((32,), (100,)) if quick else ((32, 256), (100, 600))
    for B, T, H, L in product(batches, lengths, (64, 256), (1, 2)):
        yield from training_step(T, B, H, L, budget=2 if quick else 10)
    yield from vanishing_gradient(300, 32, 128 if quick else 256, budget=1 if quick else 4)
    for T, L in product(lengths, (1, 2)):
        yield from side_memory(T, 32, 128, L, budget=1 if quick else 5)


def side_memory(T: int, B: int, H: int, L: int, budget: float) -> list[Measurement]:
    """Compare networks that have a memory at their side with plain ones of H units."""
    pairs = [("memory gru", "nn.GRU"), ("memory lstm", "nn.LSTM")]
    seconds = in_turns(training([name for pair in pairs for name in pair], T, B, H, L), budget)
    return medians("side memory", seconds, pairs, T=T, B=B, H=H, L=L)


def peak(name: str, T: int, B: int, H: int, L: int) -> float:
    """Return by how many MB a training step raises the peak memory of this process (Linux only)."""

    def resident(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    step = training([name], T, B, H, L)[name]
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    step()
    return resident("VmHWM") - before


def measure_memory(quick: bool) -> Iterator[Measurement]:
    """Measure the memory of contenders at one size, each in a fresh process."""
    names = ["nn.GRU", "nbrc", "loop nbrc"] if quick else [*TORCH, *cell_names(), "loop gru", "loop nbrc"]
    size = {"T": 200 if quick else 600, "B": 32, "H": 256, "L": 2}
    peaks = {name: in_new_process(peak, name, *size.values()) for name in names}
    for name, megabytes in peaks.items():
        for quantity, value in (("MB", megabytes), ("/ nn.GRU", megabytes / peaks["nn.GRU"])):
            yield Measurement("peak memory", name, quantity, value, **size)


def comparing(N: int, H: int) -> dict[str, Callable[[], object]]:
    """Return the comparison of N states by VAA, and by VAA* with its gradient."""
    states = torch.randn(N, H, requires_grad=True)
    return {"vaa": lambda: vaa(states.detach()), "vaa_star": lambda: vaa_star(states).backward()}


def growth(name: str, first: int, doublings: int, budget: float, **others: int) -> Iterator[Measurement]:
    """Measure contenders while the size ``name`` doubles again and again, from its first value."""
    for doubling in range(doublings + 1):
        size = others | {name: first * 2**doubling}
        contenders = comparing(**size) if name == "N" else training(GROWING, **size)
        yield from medians(f"growth with {name}", in_turns(contenders, budget), **size)


def measure_growth(quick: bool) -> Iterator[Measurement]:
    """Measure how time grows with the sequence length, units, batch size, and number of compared states."""
    budget, doublings = (0.3, 2) if quick else (2, 4)
    yield from growth("T", 100, doublings, budget, B=32, H=64)
    yield from growth("H", 32, doublings, budget, T=100, B=32)
    yield from growth("B", 16, doublings + 1, budget, T=100, H=64)
    yield from growth("N", 64, doublings + 1, budget, H=256)
