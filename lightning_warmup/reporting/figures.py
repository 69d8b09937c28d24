"""Figures of runs: ``python -m lightning_warmup.reporting.figures figure.png "label=run folder" ...`` compares runs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from lightning_warmup.dynamics.portraits import read_portraits
from lightning_warmup.reporting.axes import MARKERS, label_axes, save
from lightning_warmup.reporting.portraits import draw_multistability, draw_portraits


def column(folder: Path, name: str, axis: str = "step") -> tuple[list[float], list[float]]:
    """The logged values of one metric of a run, and where on an axis they stand.

    Args:
        folder: The run folder, with its ``metrics.csv``.
        name: Name of the metric, such as ``val/loss``.
        axis: Column of the axis, such as ``step``, ``epoch`` or ``warmup/step``.
    """
    if not (folder / "metrics.csv").is_file():  # a run that logs nothing, as with fast_dev_run
        return [], []
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(name)]
    return [float(row[axis]) for row in rows], [float(row[name]) for row in rows]


def monitored(folder: Path) -> str | None:
    """Name of the VAA that the monitor of a run has logged, such as ``monitor_M1000/vaa``; None without one."""
    if not (folder / "metrics.csv").is_file():
        return None
    with (folder / "metrics.csv").open(newline="") as file:
        names = csv.DictReader(file).fieldnames or ()
    return next((name for name in names if name.startswith("monitor_M") and name.endswith("/vaa")), None)


def draw_learning(folder: Path, output: Path) -> Path:
    """Draws what a run learns over its training steps, above its VAA if that was monitored; returns ``output``."""
    vaa = monitored(folder)
    panels = {"nrows": 2, "figsize": (6, 6.5), "height_ratios": [3, 2]} if vaa else {"figsize": (6, 4)}
    figure, all_axes = plt.subplots(sharex=True, squeeze=False, layout="constrained", **panels)
    axes = all_axes[0, 0]
    if column(folder, "val/loss")[0]:
        axes.plot(*column(folder, "train/loss"), color="0.7", label="training, one batch")
        axes.plot(*column(folder, "val/loss"), color="black", marker="o", label="validation")
        label_axes(axes, "Learning curve", None if vaa else "training step", "loss", log=True)
    else:
        axes.plot(*column(folder, "train/return"), color="0.7", label="training, one episode")
        axes.plot(*column(folder, "val/return"), color="black", marker="o", label="validation")
        label_axes(axes, "Learning curve", None if vaa else "training step", "return")
    if vaa:
        below = all_axes[1, 0]
        below.plot(*column(folder, vaa), color="black", marker="o", label="all states")
        resting = vaa.replace("/vaa", "/resting_vaa")
        below.plot(*column(folder, resting), color="0.5", marker="s", linestyle="--", label="states at rest")
        below.set_ylim(0, 1.05)
        label_axes(below, None, "training step", f"VAA after {vaa.partition('/')[0][9:]} steps")
    return save(figure, output)


def draw_warmup(folder: Path, output: Path) -> Path:
    """Draws VAA* and the loss over the warmup steps of a run, and the stabilisation; returns ``output``."""
    figure, (above, middle, below) = plt.subplots(
        3, 1, figsize=(6, 6.5), sharex=True, height_ratios=[2, 2, 1], layout="constrained"
    )
    above.plot(*column(folder, "warmup/vaa_star", "warmup/step"), color="black", marker="o", markersize=3)
    above.set_ylim(0, 1.05)
    label_axes(above, "Warmup", None, "VAA*, mean of the layers")
    middle.plot(*column(folder, "warmup/loss", "warmup/step"), color="black", marker="o", markersize=3)
    label_axes(middle, None, None, "loss", log=True)
    below.plot(*column(folder, "warmup/stabilization", "warmup/step"), color="0.5", linestyle="", marker=".")
    label_axes(below, None, "warmup step", "stabilisation (steps)")
    return save(figure, output)


def draw_pretraining(folder: Path, output: Path) -> Path:
    """Draws the loss over the pretraining steps of a run; returns ``output``."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(*column(folder, "pretrain/loss", "pretrain/step"), color="black")
    label_axes(axes, "Pretraining", "pretraining step", "mean squared error", log=True)
    return save(figure, output)


def draw_run(folder: Path) -> dict[str, Path]:
    """Draws the figures of a run into its folder, those that it has data for; returns them by name."""
    drawings = {
        "learning_curve": (draw_learning, column(folder, "val/loss")[0] or column(folder, "val/return")[0]),
        "pretraining": (draw_pretraining, column(folder, "pretrain/loss")[0]),
        "warmup": (draw_warmup, column(folder, "warmup/vaa_star")[0]),
        "multistability": (draw_multistability, read_portraits(folder)),
        "portraits": (draw_portraits, read_portraits(folder)),
    }
    return {name: draw(folder, folder / f"{name}.png") for name, (draw, data) in drawings.items() if data}


def draw_comparison(runs: Mapping[str, Path], output: Path) -> Path:
    """Draws the validation loss of several runs, by label, over their epochs; returns ``output``."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for index, (label, folder) in enumerate(runs.items()):
        epochs, losses = column(folder, "val/loss", "epoch")
        grey = str(0.6 * index / max(1, len(runs) - 1))
        axes.plot(
            [epoch + 1 for epoch in epochs],
            losses,
            color=grey,
            marker=MARKERS[index % len(MARKERS)],
            label=label,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, "Validation loss", "epoch", "loss", log=True)
    return save(figure, output)


def main(argv: list[str]) -> int:
    """Draws a comparison; returns the exit status."""
    pairs = [argument.partition("=") for argument in argv[1:]]
    missing = [folder for _, _, folder in pairs if not (Path(folder) / "metrics.csv").is_file()]
    if not pairs or missing:
        print(
            "usage: python -m lightning_warmup.reporting.figures OUTPUT.png LABEL=RUN_FOLDER ...",
            file=sys.stderr,
        )
        for folder in missing:
            print(f"error: {folder!r} is no run folder: it has no metrics.csv", file=sys.stderr)
        return 2
    print(draw_comparison({label: Path(folder) for label, _, folder in pairs}, Path(argv[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
