"""Figures of runs: ``python -m lightning_warmup.figures figure.png "label=run folder" ...`` compares runs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

MARKERS = "os^Dv"
"""Runs differ by marker and by grey level, so that a figure can be printed in grey."""


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


def draw_learning(folder: Path, output: Path) -> Path:
    """Draws the training and validation loss of a run over its steps; returns ``output``."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(*column(folder, "train/loss"), color="0.7", label="training, one batch")
    axes.plot(*column(folder, "val/loss"), color="black", marker="o", label="validation")
    _label(axes, "Learning curve", "training step", "loss", log=True)
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return output


def draw_warmup(folder: Path, output: Path) -> Path:
    """Draws VAA* over the warmup steps of a run, beside the stabilisation lengths; returns ``output``."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6, 4.5), sharex=True, height_ratios=[2, 1], layout="constrained"
    )
    above.plot(*column(folder, "warmup/vaa_star", "warmup/step"), color="black", marker="o", markersize=3)
    above.set_ylim(0, 1.05)
    _label(above, "Warmup", None, "VAA*, mean of the layers")
    below.plot(*column(folder, "warmup/stabilization", "warmup/step"), color="0.5", linestyle="", marker=".")
    _label(below, None, "warmup step", "stabilisation (steps)")
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return output


def draw_run(folder: Path) -> dict[str, Path]:
    """Draws the figures of a run into its folder, those that its logs have data for; returns them by name."""
    drawings = {"learning_curve": (draw_learning, "val/loss"), "warmup": (draw_warmup, "warmup/vaa_star")}
    return {
        name: draw(folder, folder / f"{name}.png")
        for name, (draw, metric) in drawings.items()
        if column(folder, metric)[0]
    }


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
    _label(axes, "Validation loss", "epoch", "loss", log=True)
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return output


def _label(axes: Axes, title: str | None, x: str | None, y: str, log: bool = False) -> None:
    if title:
        axes.set_title(title)
    if x:
        axes.set_xlabel(x)
    axes.set_ylabel(y)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def main(argv: list[str]) -> int:
    """Draws a comparison; returns the exit status."""
    pairs = [argument.partition("=") for argument in argv[1:]]
    missing = [folder for _, _, folder in pairs if not (Path(folder) / "metrics.csv").is_file()]
    if not pairs or missing:
        print("usage: python -m lightning_warmup.figures OUTPUT.png LABEL=RUN_FOLDER ...", file=sys.stderr)
        for folder in missing:
            print(f"error: {folder!r} is no run folder: it has no metrics.csv", file=sys.stderr)
        return 2
    print(draw_comparison({label: Path(folder) for label, _, folder in pairs}, Path(argv[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
