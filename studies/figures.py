"""Figures of groups of runs that differ in the seed alone: medians in their full range, in panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_warmup.reporting.figures import style
from studies.groups import Result


class Kind(NamedTuple):
    """What a kind of figure shows: the first prefix in ``curves`` of figures that runs have, over their numbers."""

    title: str
    x: str
    curves: dict[str, str]
    log: bool = False


_LEARNING = {"accuracy": "validation accuracy", "loss": "validation loss", "return": "return in validation"}
_LENGTHS = {"test": "test loss", "optimal": "share of optimal policies", "return": "return"}
_VAA = "VAA before training"
KINDS = {
    "learning": Kind(
        "Learning curves", "epochs of training", {f"curve.{k}.": v for k, v in _LEARNING.items()}
    ),
    "monitored": Kind("VAA during training", "epochs of training", {"curve.vaa.": "VAA"}),
    "lengths": Kind(
        "Figures of the test at greater lengths",
        "length of the test, in steps",
        {f"{name}_at_length.": words for name, words in _LENGTHS.items()},
        log=True,
    ),
    "vaa": Kind(
        f"{_VAA} against the number of constant steps",
        "M, steps under a constant input",
        {"vaa_at.": _VAA},
        True,
    ),
}


def draw(kind: str, panels: Mapping[str, Mapping[str, Sequence[Result]]], output: Path) -> Path | None:
    """Draw a figure of one of `KINDS` to a file; return the file, None if no run has such figures.

    ``panels`` has the results of each line by its label, by the title of their panel.
    """
    _, x, curves, log = KINDS[kind]
    names = {name for lines in panels.values() for rs in lines.values() for r in rs for name in r.figures}
    prefix = next((prefix for prefix in curves if any(name.startswith(prefix) for name in names)), None)
    if prefix is None:
        return None
    columns = min(len(panels), 3 if len(panels) != 4 else 2)
    figure, grid = panel_grid(len(panels), columns, (1, 0.9), (3.2, 2.7), shared=True)
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    handles: dict[str, Any] = {}
    shown: set[float] = set()
    for axes, (title, lines) in zip(grid, panels.items(), strict=True):
        for label, results in lines.items():
            if points := points_of(results, prefix):
                handles[label] = draw_line(axes, points, labels.index(label))
                shown.update(points)
        axes.set(title=title, xlabel=x, yscale="log" if "loss" in curves[prefix] else "linear")
        if log:
            axes.set_xscale("log")
            axes.set_xticks(sorted(shown), [f"{tick:g}" for tick in sorted(shown)], fontsize="small")
            axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        axes.label_outer()
    grid[0].set_ylabel(curves[prefix])
    return save_with_legend(figure, handles, columns, output)


def panel_grid(
    number: int, columns: int, frame: tuple[float, float], panel: tuple[float, float], shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels row by row; the sizes, in inches, are of all that is around them and of each.

    ``shared`` is whether all have the same axes.
    """
    rows = -(-number // columns)
    size = (frame[0] + panel[0] * columns, frame[1] + panel[1] * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).flatten()
    for axes in grid[number:]:
        axes.remove()
    return figure, list(grid[:number])


def save_with_legend(figure: Figure, handles: Mapping[str, Any], columns: int, output: Path) -> Path:
    """Write a figure to a file, with a legend below it of what bears each label; return the file."""
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    return output


def points_of(results: Sequence[Result], prefix: str) -> dict[float, Sequence[float]]:
    """Return the figures of all runs over the numbers in their names, where all of them have one."""
    curves = [_curve(result, prefix) for result in results]
    shared = sorted(set.intersection(*map(set, curves)))
    return {at: [value for curve in curves for value in curve[at]] for at in shared}


def _curve(result: Result, prefix: str) -> dict[float, Sequence[float]]:
    """Return a curve of one run; at the length of training the figure of the test itself."""
    curve: dict[float, Sequence[float]] = {}
    test = "test." + {"test_at_length.": "loss"}.get(prefix, prefix.partition("_")[0])
    if prefix.endswith("_at_length.") and not result.spreads and test in result.figures:
        length = result.what.get("data.seq_length") or result["data.length"]
        curve[float(length)] = [result.figures[test]]
    ends = {"last": result.figures.get("epochs"), "full": result.figures.get("vaa_steps")}
    for name in (name for name in result.figures if name.startswith(prefix)):
        number = name.removeprefix(prefix)
        at = ends[number] if number in ends else float(number)
        if at is not None:
            curve[at] = [result.figures[name], *result.spreads.get(name, ())]
    return curve


def draw_line(axes: Axes, points: Mapping[float, Sequence[float]], index: int, label: str = "") -> Any:
    """Draw the median of points in their full range; return what the legend shows."""
    low, middle, high = np.quantile(list(points.values()), [0, 0.5, 1], axis=1)
    look = style(index)
    axes.fill_between(list(points), low, high, color=look["color"], alpha=0.15, linewidth=0)
    return axes.plot(list(points), middle, label=label or None, markersize=4, **look)[0]
