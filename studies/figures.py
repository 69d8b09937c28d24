"""Figures of groups of runs that differ in the seed alone: medians, between their quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_warmup.reporting.axes import MARKERS, label_axes, save
from lightning_warmup.reporting.portraits import read_portrait_before_training
from studies.runs import Run

LINES = ("-", "--", ":", "-.")


def draw_learning_over_vaa(groups: Mapping[str, Sequence[Run]], title: str, output: Path) -> Path:
    """Draws what groups learn over their epochs, above the VAA that was monitored; returns ``output``."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(6, 7), sharex=True, layout="constrained")
    losses = any(run.by_epoch("val/loss") for runs in groups.values() for run in runs)
    metric = "val/loss" if losses else "val/return"
    for index, (label, runs) in enumerate(groups.items()):
        curves = [run.by_epoch(metric) for run in runs]
        _band(above, index, label, [list(enumerate(curve, start=1)) for curve in curves])
        _band(below, index, label, [run.monitored("vaa") for run in runs])
    below.set_ylim(0, 1.05)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(above, title, None, metric.replace("val/", "validation "), log=losses)
    label_axes(below, None, "epochs", "VAA")
    return _save(figure, above, output)


def draw_vaa_against_steps(groups: Mapping[str, Sequence[Run]], title: str, output: Path) -> Path:
    """Draws the VAA before training of groups against the number M of constant steps; returns ``output``."""
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for index, (label, runs) in enumerate(groups.items()):
        taken = [read_portrait_before_training(run.folder) for run in runs]
        curves = [list(zip(one.steps, one.vaa, strict=True)) for one in taken if one is not None]
        _band(axes, index, label, curves)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    label_axes(axes, title, "M, steps under a constant input", "VAA before training")
    return _save(figure, axes, output)


def _band(axes: Axes, index: int, label: str, curves: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Draws the median of curves, given as points, over the places that all of them have."""
    shared = sorted(set.intersection(*({x for x, _ in curve} for curve in curves))) if curves else []
    if not shared:
        return
    values = np.array([[dict(curve)[x] for x in shared] for curve in curves])
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    grey, line = str(0.6 * (index % 3) / 2), LINES[index // 3 % len(LINES)]
    marker = MARKERS[index % len(MARKERS)]
    axes.plot(shared, middle, color=grey, linestyle=line, marker=marker, markersize=4, label=label)
    axes.fill_between(shared, low, high, color=grey, alpha=0.15, linewidth=0)


def _save(figure: Figure, named: Axes, output: Path) -> Path:
    """Moves the legend, that of some axes, below all axes, and writes the figure."""
    handles, labels = named.get_legend_handles_labels()
    for axes in figure.axes:
        if (legend := axes.get_legend()) is not None:
            legend.remove()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return save(figure, output)
