"""Figures of portraits: where the states of a network go, and in how many places they end."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from lightning_warmup.dynamics.portraits import MOMENTS, Portrait, read_portraits
from lightning_warmup.reporting.axes import label_axes, save

STYLES = {"before": ("^", ":"), "pretrain": ("D", "-."), "warmup": ("o", "-"), "final": ("s", "--")}
"""Marker and line of each moment."""


def draw_multistability(folder: Path, output: Path) -> Path:
    """Draws VAA and resting fraction against the number M of constant steps; returns ``output``."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(6, 6), sharex=True, layout="constrained")
    for moment, taken in read_portraits(folder).items():
        marker, line = STYLES[moment]
        for axes, values in ((above, taken.vaa), (below, taken.rest)):
            axes.plot(
                taken.steps, values, color="black", linestyle=line, marker=marker, label=MOMENTS[moment]
            )
    for axes in (above, below):
        axes.set_xscale("log")
        axes.set_ylim(-0.03, 1.05)
    label_axes(above, "Multistability", None, f"VAA of {_count(folder)} states")
    label_axes(below, None, "M, steps under a constant input", "fraction at rest")
    return save(figure, output)


def draw_portraits(folder: Path, output: Path) -> Path:
    """Draws trajectories under a constant input and their ends, before and after the stages; returns ``output``."""
    taken = dict(list(read_portraits(folder).items())[:2])
    figure, panels = plt.subplots(
        len(taken), 1, figsize=(6, 4.8 * len(taken)), squeeze=False, layout="constrained"
    )
    for axes, moment in zip(panels[:, 0], taken, strict=True):
        _portray(axes, taken[moment], f"States of the network {MOMENTS[moment]}")
    return save(figure, output)


def _portray(axes: Axes, taken: Portrait, title: str) -> None:
    axes.plot(taken.path[:, :, 0], taken.path[:, :, 1], color="0.65", linewidth=0.6)
    axes.plot([], [], color="0.65", label=f"first {len(taken.path) - 1} steps")
    axes.plot(*taken.path[0].T, color="0.45", linestyle="", marker=".", markersize=4, label="start")
    steps = taken.steps[-1]
    for resting, label, face in ((True, "at rest", "black"), (False, "still moving", "white")):
        chosen = taken.settled[taken.resting == resting]
        if len(chosen):
            axes.plot(
                *chosen.T,
                linestyle="",
                marker="o",
                markersize=6,
                markerfacecolor=face,
                markeredgecolor="black",
                label=f"after {steps} steps, {label} ({len(chosen)})",
            )
    first, second = 100 * taken.variance
    label_axes(
        axes, title, f"first principal component ({first:.0f} % of the variance)", f"second ({second:.0f} %)"
    )


def _count(folder: Path) -> int:
    return len(next(iter(read_portraits(folder).values())).settled)
