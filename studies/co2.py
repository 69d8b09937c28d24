"""Cuts the weekly CO2 of Mauna Loa into windows, to forecast the half year after each; for ``data.name=series``.

The numbers of 1958 to 2001 (Keeling and Whorf, 2004) are in the public domain; statsmodels' wheel holds them as
``statsmodels/datasets/co2/co2.csv``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LENGTH, HORIZON, TEST_WEEKS = 104, 26, 520
"""Weeks of a window, weeks to forecast, and last weeks, which only the test forecasts."""


def read(path: str | Path) -> NDArray[np.float64]:
    """Return the column ``co2`` of a CSV file, ``(T,)``, with missing weeks on a line between their neighbours."""
    with Path(path).open(newline="") as file:
        numbers = np.array([float(row["co2"] or "nan") for row in csv.DictReader(file)])
    weeks, known = np.arange(len(numbers)), ~np.isnan(numbers)
    return np.interp(weeks, weeks[known], numbers[known])


def windows(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all windows ``(N, LENGTH, 1)`` and what follows each ``(N, HORIZON)``, less a window's last number."""
    rows = np.lib.stride_tricks.sliding_window_view(numbers, LENGTH + HORIZON)
    rows = rows - rows[:, LENGTH - 1, None]
    return rows[:, :LENGTH, None], rows[:, LENGTH:]


def write(numbers: NDArray[np.float64], folder: Path) -> None:
    """Write ``train.npz`` and ``test.npz``; the first has no week that the second forecasts."""
    folder.mkdir(parents=True, exist_ok=True)
    known = len(numbers) - TEST_WEEKS
    for name, part in (("train", numbers[:known]), ("test", numbers[known - LENGTH :])):
        x, y = windows(part)
        np.savez(folder / f"{name}.npz", x=x, y=y)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m studies.co2", description=__doc__)
    parser.add_argument("csv", help="co2.csv of statsmodels")
    parser.add_argument("folder", type=Path, help="where train.npz and test.npz are written")
    arguments = parser.parse_args()
    write(read(arguments.csv), arguments.folder)
