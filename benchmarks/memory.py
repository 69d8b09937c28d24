"""Peak memory of a training step: by how much it raises the peak of resident memory, on Linux only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.cells import TORCH, make, train
from benchmarks.measure import Figure, in_new_process
from lightning_warmup.cells import cell_names


def peak(name: str, T: int, B: int, H: int, L: int) -> float:
    """Return by how many MB a training step raises this process's peak of resident memory."""

    def resident(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    module, x = make(name, H, L), torch.randn(T, B, 1)
    train(module, x[:2])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    train(module, x)
    return resident("VmHWM") - before


def peak_memory(names: Sequence[str], T: int, B: int, H: int, L: int) -> Iterator[Figure]:
    """Measure contenders, each in a process of its own."""
    peaks = {name: in_new_process(peak, name, T, B, H, L) for name in names}
    for name, megabytes in peaks.items():
        for quantity, value in (("MB", megabytes), ("/ nn.GRU", megabytes / peaks["nn.GRU"])):
            yield Figure("peak memory", name, quantity, value, T=T, B=B, H=H, L=L)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure one size."""
    names = ["nn.GRU", "nbrc", "loop nbrc"] if quick else [*TORCH, *cell_names(), "loop gru", "loop nbrc"]
    yield from peak_memory(names, 200 if quick else 600, 32, 256, 2)
