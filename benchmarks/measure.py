"""Time contenders in turns, so that other load on the machine slows all of them; write and read the CSV."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_warmup.runtime.files import Row, read_rows

MOST_TURNS = 25


class Measurement(NamedTuple):
    """One number, a row of the CSV.

    Attributes:
        subject: What is measured, such as ``"training step"``.
        contender: The measured cell or code.
        quantity: Unit of the value, or ``"/ nn.GRU"`` for a ratio to another contender.
        value: The number; the median of several turns.
        spread_percent: Half the distance between the quartiles, in per cent of the median.
        turns: Number of measurements.
        T, B, H, L, N, M: Steps, sequences in a batch, units, layers, states compared, and constant steps.
    """

    subject: str
    contender: str
    quantity: str
    value: float
    spread_percent: float | None = None
    turns: int | None = None
    T: int | None = None
    B: int | None = None
    H: int | None = None
    L: int | None = None
    N: int | None = None
    M: int | None = None

    def __str__(self) -> str:
        spread = "" if self.spread_percent is None else f" ±{self.spread_percent:.0f}%"
        size = f" {self.size()}".rstrip()
        return f"{self.subject}{size} {self.contender}: {self.value:.4g} {self.quantity}{spread}"

    def size(self, *, without: str = "") -> str:
        """Return the size in words, such as "T=100 B=32"."""
        sizes = {name: getattr(self, name) for name in "TBHLNM" if name != without}
        return " ".join(f"{name}={number}" for name, number in sizes.items() if number is not None)


def write(path: Path, origin: str, found: Sequence[Measurement]) -> None:
    """Write measurements to a CSV file; its first line is a comment with their origin."""
    with path.open("w", newline="") as file:
        file.write(f"# {origin}\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(Measurement._fields)
        rows.writerows([f"{x:.5g}" if isinstance(x, float) else x for x in each] for each in found)


def read(path: Path) -> tuple[str, list[Measurement]]:
    """Return the origin and the measurements of a CSV file."""
    with path.open() as file:
        origin = file.readline().removeprefix("# ").strip()
    return origin, [_measurement(row) for row in read_rows(path)]


def _measurement(row: Row) -> Measurement:
    words = (row["subject"], row["contender"], row["quantity"])
    spread = float(row["spread_percent"]) if "spread_percent" in row else None
    sizes = {name: int(row[name]) for name in ("turns", *"TBHLNM") if name in row}
    return Measurement(*words, float(row["value"]), spread, **sizes)


def clock() -> float:
    """Return processor seconds on one thread, since other load changes them less; otherwise wall-clock seconds."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def in_turns(
    contenders: Mapping[str, Callable[[], object]], budget: float, least: int = 3
) -> dict[str, list[float]]:
    """Call contenders in turns for ``budget`` seconds, at least ``least`` times; return all times in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    began, turns = time.perf_counter(), 0
    while turns < least or (time.perf_counter() - began < budget and turns < MOST_TURNS):
        turns += 1
        for name, contender in contenders.items():
            start = clock()
            contender()
            seconds[name].append(clock() - start)
    return seconds


def medians(
    subject: str, seconds: Mapping[str, Sequence[float]], ratios: Iterable[tuple[str, str]] = (), **size: int
) -> list[Measurement]:
    """Return the median of every contender in ms, then the medians of ratios, computed turn by turn."""
    turns = {(name, "ms"): [1e3 * s for s in values] for name, values in seconds.items()}
    for one, other in ratios:
        turns[one, f"/ {other}"] = [a / b for a, b in zip(seconds[one], seconds[other], strict=True)]
    found = []
    for (contender, quantity), values in turns.items():
        lower, median, upper = statistics.quantiles(values, n=4)
        spread = round(50 * (upper - lower) / median)
        found.append(Measurement(subject, contender, quantity, median, spread, len(values), **size))
    return found


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)`` from a fresh process with the same number of threads."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as executor:
        return executor.submit(function, *arguments).result()
