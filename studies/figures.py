"""Figures of groups of runs that differ in the seed alone: medians in their full range, in panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.groups import Group, Result, words_of

# Colours of Okabe and Ito, which the colour-blind tell apart, from dark to light for print in grey.
PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
LINES = ("-", "--", "-.", ":")
MARKERS = "os^DvXP*"


class Kind(NamedTuple):
    """What a kind of figure shows: one prefix of a run's figures, over the numbers in their names."""

    title: str
    x: str
    curves: dict[str, str]
    """Name of the vertical axis by the prefix; the first of which there are figures is shown."""
    log: bool


KINDS = {
    "learning": Kind(
        "Learning curves",
        "epochs of training",
        {
            "curve.accuracy.": "validation accuracy",
            "curve.loss.": "validation loss",
            "curve.return.": "return in validation",
        },
        False,
    ),
    "monitored": Kind("VAA during training", "epochs of training", {"curve.vaa.": "VAA"}, False),
    "lengths": Kind(
        "Figures of the test at greater lengths",
        "length of the test, in steps",
        {
            "test_at_length.": "test loss",
            "optimal_at_length.": "share of optimal policies",
            "return_at_length.": "return",
        },
        True,
    ),
    "vaa": Kind(
        "VAA before training against the number of constant steps",
        "M, steps under a constant input",
        {"vaa_at.": "VAA before training"},
        True,
    ),
}


def draw(kind: str, panels: Mapping[str, Sequence[Group]], named: int, output: Path) -> Path | None:
    """Draw a figure with a panel for each list of groups, and a line in it for each group.

    Args:
        kind: Kind of the figure, one of `KINDS`.
        panels: Groups by the title of their panel, which says the first ``named`` of their names.
        named: Number of names in the title.
        output: File to write.

    Returns:
        The file, None if no run has such figures.
    """
    about = KINDS[kind]
    results = [result for groups in panels.values() for one in groups for result in one.results]
    have = (p for p in about.curves if any(name.startswith(p) for r in results for name in r.figures))
    prefix = next(have, None)
    if prefix is None:
        return None
    columns = min(len(panels), 3 if len(panels) != 4 else 2)
    count = -(-len(panels) // columns)
    figure = Figure(figsize=(1 + 3.2 * columns, 0.9 + 2.7 * count), layout="constrained")
    grid = figure.subplots(count, columns, squeeze=False, sharey=True, sharex=True).flatten()
    labels = list(dict.fromkeys(words_of(one.names[named:]) for groups in panels.values() for one in groups))
    handles: dict[str, Any] = {}
    shown: set[float] = set()
    for axes, (title, groups) in zip(grid, panels.items(), strict=False):
        for one in groups:
            label = words_of(one.names[named:])
            if points := _points(one.results, prefix):
                handles[label] = _line(axes, labels.index(label), points)
                shown.update(points)
        axes.set(title=title, xlabel=about.x)
        if about.log:
            axes.set_xscale("log")
            axes.set_xticks(sorted(shown), [f"{x:g}" for x in sorted(shown)], fontsize="small")
            axes.set_xticks([], minor=True)
        axes.set_yscale("log" if "loss" in about.curves[prefix] else "linear")
        axes.grid(alpha=0.3)
        axes.label_outer()
    for axes in grid[len(panels) :]:
        axes.remove()
    grid[0].set_ylabel(about.curves[prefix])
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    return output


def _points(results: Sequence[Result], prefix: str) -> dict[float, list[float]]:
    """Return the figures of all runs over the numbers in their names, where all of them have one."""
    curves = [_curve(result, prefix) for result in results]
    shared = sorted(set.intersection(*map(set, curves)))
    quartiles = [result.spreads.get(f"{prefix}{x:g}", ()) for x in shared for result in results[:1]]
    return {x: [*(curve[x] for curve in curves), *ends] for x, ends in zip(shared, quartiles, strict=True)}


def _curve(result: Result, prefix: str) -> dict[float, float]:
    """Return a curve of one run; at the length of training the figure of the test itself."""
    ends = {"last": result.figures.get("epochs"), "full": result.figures.get("vaa_steps")}
    if prefix.endswith("_at_length.") and not result.spreads:
        name = "test." + {"test_at_length.": "loss"}.get(prefix, prefix.partition("_")[0])
        length = result.settings.get("data.seq_length") or result.settings["data.length"]
        start = {float(length): result.figures[name]} if name in result.figures else {}
    else:
        start = {}
    there = {name.removeprefix(prefix): v for name, v in result.figures.items() if name.startswith(prefix)}
    numbers = {ends.get(at) if at in ends else float(at): value for at, value in there.items()}
    return start | {x: value for x, value in numbers.items() if x is not None}


def _line(axes: Axes, index: int, points: Mapping[float, Sequence[float]]) -> Any:
    """Draw the median of points in their full range; return what the legend shows."""
    low, middle, high = np.quantile(list(points.values()), [0, 0.5, 1], axis=1)
    colour, line = PALETTE[index % len(PALETTE)], LINES[index % len(LINES)]
    marker = MARKERS[index % len(MARKERS)]
    (drawn,) = axes.plot(list(points), middle, color=colour, linestyle=line, marker=marker, markersize=4)
    axes.fill_between(list(points), low, high, color=colour, alpha=0.15, linewidth=0)
    return drawn
