"""Figures that were measured, and the CSV that holds them."""

from __future__ import annotations

import csv
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

SIZES = ("T", "B", "H", "L", "N", "M")
"""Steps, batch, units, layers, states compared, and constant steps for which they settle."""


@dataclass(frozen=True)
class Figure:
    """One number, a row of the CSV.

    Attributes:
        subject: What is measured, such as ``"training step"``.
        contender: The cell or the code that it is measured of.
        quantity: Unit of the value, or ``"/ nn.GRU"`` for a ratio to another contender.
        value: The number; a median if there were several turns.
        size: What is known of ``SIZES``.
        spread: Half the distance of the quartiles, in per cent of the median.
        turns: How many times it was measured.
    """

    subject: str
    contender: str
    quantity: str
    value: float
    size: Mapping[str, int]
    spread: float | None = None
    turns: int | None = None

    def __str__(self) -> str:
        size = " ".join(f"{name}={number}" for name, number in self.size.items())
        spread = "" if self.spread is None else f" ±{self.spread:.0f}%"
        return f"{self.subject}, {size}, {self.contender}: {self.value:.5g} {self.quantity}{spread}"


def origin(arguments: Sequence[str]) -> str:
    """Return what the figures depend on: processor, threads, versions, system, commit, command."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, "
        f"torch on {torch.get_num_threads()} threads; torch {torch.__version__}, "
        f"lightning {version('lightning')}, Python {platform.python_version()}; {platform.platform()}; "
        f"commit {commit}; python -m benchmarks {shlex.join(arguments)}"
    ).rstrip()


def write(path: Path, origin: str, figures: Sequence[Figure]) -> None:
    """Write figures to a CSV whose first line is a comment on their origin."""
    with path.open("w", newline="") as file:
        file.write(f"# {origin}\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["subject", *SIZES, "contender", "quantity", "value", "spread_percent", "turns"])
        for f in figures:
            size = [f.size.get(name, "") for name in SIZES]
            spread = "" if f.spread is None else f"{f.spread:.0f}"
            rows.writerow([f.subject, *size, f.contender, f.quantity, f"{f.value:.5g}", spread, f.turns])


def read(path: Path) -> tuple[str, list[Figure]]:
    """Return the origin and the figures of a CSV."""
    with path.open(newline="") as file:
        origin = next(file).removeprefix("# ").rstrip("\n")
        return origin, [
            Figure(
                row["subject"],
                row["contender"],
                row["quantity"],
                float(row["value"]),
                {name: int(row[name]) for name in SIZES if row[name]},
                float(row["spread_percent"]) if row["spread_percent"] else None,
                int(row["turns"]) if row["turns"] else None,
            )
            for row in csv.DictReader(file)
        ]
