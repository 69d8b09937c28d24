"""Peak memory of a training step.

    python -m benchmarks.memory [--quick]

By how much a training step, as in `benchmarks/cells.py`, raises the peak of resident memory, each contender in a
process of its own; Linux only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.cells import TORCH, make, training_step
from benchmarks.measure import in_new_process
from benchmarks.page import Table, command
from lightning_warmup.cells import cell_names


def peak(name: str, T: int, H: int, L: int, batch: int) -> float:
    """Returns by how many MB a training step raises this process's peak of resident memory."""

    def resident(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    module, x = make(name, H, L), torch.randn(T, batch, 1)
    training_step(module, x[:2])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    training_step(module, x)
    return resident("VmHWM") - before


def memory(names: Sequence[str], T: int, H: int, L: int, batch: int) -> Table:
    """Returns the table of peaks for one size; "nn.GRU" is among the names."""
    peaks = {name: in_new_process(peak, name, T, H, L, batch) for name in names}
    rows = [[name, f"{mb:.0f}", f"{mb / peaks['nn.GRU']:.2f}"] for name, mb in peaks.items()]
    return Table(f"T={T} H={H} L={L} batch={batch}", [["cell", "MB", "/ nn.GRU"], *rows])


def tables(quick: bool) -> Iterator[Table]:
    """Yields the table."""
    names = ["nn.GRU", "nbrc", "loop nbrc"] if quick else [*TORCH, *cell_names(), "loop gru", "loop nbrc"]
    yield memory(names, 200 if quick else 600, 256, 2, 32)


if __name__ == "__main__":
    command(__doc__, tables)
