"""Groups of runs that differ in the seed alone: their statistics, as entries of tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from studies.runs import Run

OUTCOME = ("runs", "final figure", "learnt", "epochs until learnt", "beyond the length of training")
"""Header of :func:`outcome`."""


def median(values: Iterable[float | None]) -> float | None:
    """Median of the values that there are, None without any."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def spread(values: Iterable[float | None]) -> str:
    """Median and quartiles of the values that there are: ``0.5 [0.4, 0.7]``."""
    there = sorted(value for value in values if value is not None)
    if len(there) < 2:
        return f"{there[0]:.3g}" if there else ""
    first, middle, third = statistics.quantiles(there, n=4, method="inclusive")
    return f"{middle:.3g} [{first:.3g}, {third:.3g}]"


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; columns without any entry are left out."""
    entries = [[str(entry) for entry in row] for row in rows]
    kept = [index for index in range(len(header)) if any(row[index] for row in entries)]
    lines = [[header[index] for index in kept], ["---"] * len(kept)]
    lines += [[row[index] for index in kept] for row in entries]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def outcome(runs: Sequence[Run]) -> list[object]:
    """The number of runs, their final figure, how many learnt, after how many epochs, and the farthest figure."""
    learnt = [run.learnt_after for run in runs]
    count = sum(epochs is not None for epochs in learnt)
    beyond = [run.farthest for run in runs if run.farthest is not None]
    return [
        len(runs),
        _named([run.score for run in runs]),
        f"{count} of {len(runs)}",
        spread(learnt),
        _named(beyond),
    ]


def _named(figures: Sequence[tuple[str, float]]) -> str:
    """The spread of those figures that have the name of the first, after it."""
    return f"{figures[0][0]} {spread(v for name, v in figures if name == figures[0][0])}" if figures else ""


def quality(runs: Sequence[Run]) -> float:
    """Median of the final figure, or of its negative if less is better: greater is better."""
    sign = -1 if runs[0].score[0] == "test loss" else 1
    return statistics.median(sign * run.score[1] for run in runs)


def learnt_after(runs: Sequence[Run]) -> float:
    """Median of the epochs until learnt; infinite if half of the runs or more never learn."""
    return statistics.median(math.inf if r.learnt_after is None else r.learnt_after for r in runs)
