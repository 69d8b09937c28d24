"""Figures of portraits: where the states of a network go, and in how many places they end."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from lightning_warmup.dynamics.portraits import FOLDER, Portrait
from lightning_warmup.reporting.axes import COLORS, GREY, label_axes, save, style

MOMENTS = {
    "before": "as initialised",
    "pretrain": "after pretraining",
    "warmup": "after the warmup",
    "final": "after training",
}
"""Moments a network is portrayed at, in their order, in words."""


def read_portraits(folder: Path) -> dict[str, Portrait]:
    """Return the portraits in a run folder by their moment."""
    paths = {moment: folder / FOLDER / f"{moment}.npz" for moment in MOMENTS}
    return {moment: Portrait.load(path) for moment, path in paths.items() if path.is_file()}


def read_portrait_before_training(folder: Path) -> Portrait | None:
    """Return the last portrait in a run folder of the untrained network, None if there is none."""
    portraits = read_portraits(folder)
    portraits.pop("final", None)
    return list(portraits.values())[-1] if portraits else None


def draw_multistability(folder: Path, output: Path) -> Path:
    """Draw VAA and resting fraction against the number M of constant steps; return ``output``."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(6, 6), sharex=True, layout="constrained")
    portraits = read_portraits(folder)
    for moment, taken in portraits.items():
        look = style(list(MOMENTS).index(moment))
        above.plot(taken.steps, taken.vaa, label=MOMENTS[moment], **look)
        below.plot(taken.steps, taken.resting_fraction, **look)
    for axes in (above, below):
        axes.set_xscale("log")
        axes.set_ylim(-0.03, 1.05)
    count = len(next(iter(portraits.values())).settled)
    label_axes(above, "Multistability", None, f"VAA of {count} states")
    label_axes(below, None, "M, steps under a constant input", "fraction at rest")
    return save(figure, output)


def draw_portraits(folder: Path, output: Path) -> Path:
    """Draw trajectories under a constant input and their ends, before and after the stages; return ``output``."""
    taken = dict(list(read_portraits(folder).items())[:2])
    figure, panels = plt.subplots(
        len(taken), 1, figsize=(6, 4.8 * len(taken)), squeeze=False, layout="constrained"
    )
    for axes, moment in zip(panels[:, 0], taken, strict=True):
        draw_portrait(axes, taken[moment], f"States of the network {MOMENTS[moment]}")
    return save(figure, output)


def draw_portrait(axes: Axes, taken: Portrait, title: str) -> None:
    """Draw one portrait into axes."""
    axes.plot(taken.path[:, :, 0], taken.path[:, :, 1], color=GREY, linewidth=0.6)
    axes.plot([], [], color=GREY, label=f"first {len(taken.path) - 1} steps")
    axes.plot(*taken.path[0].T, color="0.45", linestyle="", marker=".", markersize=4, label="start")
    for resting, words, marker, color in (
        (True, "at rest", "o", COLORS[2]),
        (False, "still moving", "^", COLORS[1]),
    ):
        chosen = taken.settled[taken.resting == resting]
        if len(chosen):
            label = f"after {taken.steps[-1]} steps, {words} ({len(chosen)})"
            axes.plot(
                *chosen.T, linestyle="", marker=marker, color=color, markeredgecolor="black", label=label
            )
    first, second = 100 * taken.variance
    label_axes(
        axes, title, f"first principal component ({first:.0f} % of the variance)", f"second ({second:.0f} %)"
    )
