"""Figures of groups of runs that differ in the seed alone: medians with all runs, in panels."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_warmup.reporting.figures import GREY, style
from studies.groups import Result, group
from studies.tables import by_procedure, first_metric, in_words

AXES = {
    "curve.loss.": ("epochs of training", "validation loss"),
    "curve.accuracy.": ("epochs of training", "validation accuracy"),
    "curve.return.": ("epochs of training", "validation return"),
    "curve.vaa.": ("epochs of training", "VAA"),
    "test_at_length.": ("length of the test, in steps", "test loss"),
    "optimal_at_length.": ("length of the test, in steps", "share of optimal policies"),
    "return_at_length.": ("length of the test, in steps", "return"),
    "vaa_at.": ("steps under a constant input", "VAA before training"),
}
"""Names of both axes, by the beginning of the metrics whose names end with a number: that is the x axis."""

WORDS = {
    "copy first input": "copying",
    "seq length": "length",
    "mnist": "MNIST",
    "black pixels=": "blank steps ",
    "pad length": "held for at least",
    "tmaze": "T-Maze",
    "samples=prefixes": "from prefixes",
    "stochasticity": "actions replaced",
}
"""Words for names and settings of benchmarks in the titles of panels."""


def draw_curves(
    prefix: str, results: Sequence[Result], panels: Sequence[str], lines: Sequence[str], output: Path
) -> Path | None:
    """Draw one of `AXES`, a panel and in it a line for runs that are equal in the columns of that name.

    Return the file, None if no run has such metrics.
    """
    results = [result for result in results if any(name.startswith(prefix) for name in result.metrics)]
    if not results:
        return None
    by_panel: dict[str, dict[str, list[Result]]] = {}
    for key, members in group(results, [*panels, *lines]).items():
        title, label = (", ".join(part) for part in (key[: len(panels)], key[len(panels) :]))
        by_panel.setdefault(title, {})[label] = members
    columns = min(len(by_panel), 2)
    figure, grid = panel_grid(len(by_panel), columns, (0.9, 0.9), (2.6, 2.5), shared=True)
    labels = list(dict.fromkeys(label for panel in by_panel.values() for label in panel))
    handles: dict[str, Any] = {}
    for axes, (title, panel) in zip(grid, by_panel.items(), strict=True):
        for label, members in panel.items():
            handles[label] = draw_line(axes, points_of(members, prefix), labels.index(label))
        axes.set(xlabel=AXES[prefix][0], yscale="log" if "loss" in AXES[prefix][1] else "linear")
        axes.set_xscale("linear" if prefix.startswith("curve") else "log")
        axes.set_title(textwrap.fill(_words(title), 28), fontsize="medium")
        axes.grid(alpha=0.3)
        axes.label_outer()
    grid[0].set_ylabel(AXES[prefix][1])
    return save_with_legend(figure, handles, columns, output)


def draw_pairs(
    results: Sequence[Result],
    names: Sequence[str],
    procedures: Sequence[str],
    metrics: Sequence[str],
    output: Path,
) -> Path | None:
    """Draw the rows of a comparison as panels: a point for every run, those of one seed joined."""
    compared = {key: runs for key, runs in by_procedure(results, names).items() if len(runs) > 1}
    if not compared:
        return None
    figure, grid = panel_grid(len(compared), min(len(compared), 3), (0.3, 0.5), (2.1, 2.4))
    handles: dict[str, Any] = {}
    for axes, (key, runs) in zip(grid, compared.items(), strict=True):
        metric = first_metric(runs, metrics)
        seeds: dict[str, dict[int, float]] = {}
        for at, procedure in enumerate(procedures):
            for result in runs.get(procedure, []):
                if metric in result.metrics:
                    seeds.setdefault(result["seed"], {})[at] = result.metrics[metric]
        for points in seeds.values():
            axes.plot(list(points), list(points.values()), color=GREY, linewidth=0.8, zorder=1)
            for at, value in points.items():
                (handles[procedures[at]],) = axes.plot(at, value, **{**style(at), "linestyle": "none"})
        axes.set(xlim=(-0.5, len(procedures) - 0.5), xticks=[], ylabel=in_words(metric))
        axes.set_title("\n".join(textwrap.fill(_words(each), 20) for each in key), fontsize="medium")
        axes.set_yscale("log" if "loss" in metric else "linear")
        axes.grid(alpha=0.3, axis="y")
    shown = {procedure: handles[procedure] for procedure in procedures if procedure in handles}
    return save_with_legend(figure, shown, len(shown), output)


def _words(title: str) -> str:
    """Return a title in words: without parts of names that say nothing, ``RepeatFirst`` as two words."""
    title = re.sub(r"^(series|gym), (popgym-)?|-v\d+$|[ _]TEST\.ts$", "", title)
    title = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", title)
    for name, words in WORDS.items():
        title = title.replace(name, words)
    return title.replace("=", " ")


def panel_grid(
    number: int, columns: int, frame: tuple[float, float], panel: tuple[float, float], shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels row by row; the sizes, in inches, are of all that is around them and of each."""
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


def points_of(results: Sequence[Result], prefix: str) -> dict[float, list[float]]:
    """Return the metrics of all runs over the numbers in their names, where all of them have one."""
    curves = [curve_of(result, prefix) for result in results]
    shared = sorted(set.intersection(*map(set, curves)))
    return {at: [curve[at] for curve in curves] for at in shared}


def curve_of(result: Result, prefix: str) -> dict[float, float]:
    """Return a curve of one run; at the length of training the metric of the test itself."""
    curve: dict[float, float] = {}
    test = "test." + {"test_at_length.": "loss"}.get(prefix, prefix.partition("_")[0])
    if prefix.endswith("_at_length.") and test in result.metrics:
        length = result.what.get("data.seq_length") or result["data.length"]
        curve[float(length)] = result.metrics[test]
    ends = {"last": result.metrics.get("epochs"), "full": result.metrics.get("vaa_steps")}
    for name in (name for name in result.metrics if name.startswith(prefix)):
        number = name.removeprefix(prefix)
        at = ends[number] if number in ends else float(number)
        if at is not None:
            curve[at] = result.metrics[name]
    return curve


def draw_line(axes: Axes, points: Mapping[float, Sequence[float]], index: int, label: str = "") -> Any:
    """Draw the median of points in their full range, and each of them; return what the legend shows."""
    low, middle, high = np.quantile(list(points.values()), [0, 0.5, 1], axis=1)
    look = style(index)
    axes.fill_between(list(points), low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(list(points), list(points.values()), ".", color=look["color"], alpha=0.4, markersize=3)
    return axes.plot(list(points), middle, label=label or None, markersize=4, **look)[0]
