"""Figures of runs; ``python -m lightning_warmup.reporting.figures OUTPUT.png LABEL=FOLDER ...`` compares them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from lightning_warmup.reporting.axes import COLORS, GREY, label_axes, save, style
from lightning_warmup.reporting.portraits import draw_multistability, draw_portraits, read_portraits


def column(folder: Path, name: str, axis: str = "step") -> tuple[list[float], list[float]]:
    """Return where on an axis the logged values of one metric of a run stand, and the values.

    Args:
        folder: Run folder, with its ``metrics.csv``.
        name: Name of the metric, such as ``val/loss``.
        axis: Column of the axis, such as ``step``, ``epoch`` or ``warmup/step``.
    """
    if not (folder / "metrics.csv").is_file():  # a run that logs nothing, as with fast_dev_run
        return [], []
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(name)]
    return [float(row[axis]) for row in rows], [float(row[name]) for row in rows]


def monitored(folder: Path) -> str | None:
    """Return the name of the VAA that a run was monitored by, such as ``monitor_M1000/vaa``; None without one."""
    if not (folder / "metrics.csv").is_file():
        return None
    with (folder / "metrics.csv").open(newline="") as file:
        names = csv.DictReader(file).fieldnames or ()
    return next((name for name in names if name.startswith("monitor_M") and name.endswith("/vaa")), None)


def draw_learning(folder: Path, output: Path) -> Path:
    """Draw what a run learns over its training steps, above its VAA if that was monitored; return ``output``."""
    vaa = monitored(folder)
    panels = {"nrows": 2, "figsize": (6, 6.5), "height_ratios": [3, 2]} if vaa else {"figsize": (6, 4)}
    figure, all_axes = plt.subplots(sharex=True, squeeze=False, layout="constrained", **panels)
    axes = all_axes[0, 0]
    learns_by_loss = bool(column(folder, "val/loss")[0])
    name, sample = ("loss", "batch") if learns_by_loss else ("return", "episode")
    axes.plot(*column(folder, f"train/{name}"), color=GREY, label=f"training, one {sample}")
    axes.plot(*column(folder, f"val/{name}"), label="validation", **style(0))
    label_axes(axes, "Learning curve", None if vaa else "training step", name, log=learns_by_loss)
    if vaa:
        below = all_axes[1, 0]
        below.plot(*column(folder, vaa), label="all states", **style(0))
        resting = vaa.replace("/vaa", "/resting_vaa")
        below.plot(*column(folder, resting), label="states at rest", **style(1))
        below.set_ylim(0, 1.05)
        label_axes(below, None, "training step", f"VAA after {vaa.partition('/')[0][9:]} steps")
    return save(figure, output)


def draw_warmup(folder: Path, output: Path) -> Path:
    """Draw VAA* and the loss over the warmup steps of a run, and the stabilisation; return ``output``."""
    figure, (above, middle, below) = plt.subplots(
        3, 1, figsize=(6, 6.5), sharex=True, height_ratios=[2, 2, 1], layout="constrained"
    )
    above.plot(*column(folder, "warmup/vaa_star", "warmup/step"), markersize=3, **style(0))
    above.set_ylim(0, 1.05)
    label_axes(above, "Warmup", None, "VAA*, mean of the layers")
    middle.plot(*column(folder, "warmup/loss", "warmup/step"), markersize=3, **style(0))
    label_axes(middle, None, None, "loss", log=True)
    below.plot(
        *column(folder, "warmup/stabilization", "warmup/step"), color=COLORS[2], linestyle="", marker="."
    )
    label_axes(below, None, "warmup step", "stabilisation (steps)")
    return save(figure, output)


def draw_pretraining(folder: Path, output: Path) -> Path:
    """Draw the loss over the pretraining steps of a run; return ``output``."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(*column(folder, "pretrain/loss", "pretrain/step"), color="black")
    label_axes(axes, "Pretraining", "pretraining step", "mean squared error", log=True)
    return save(figure, output)


def draw_run(folder: Path) -> dict[str, Path]:
    """Draw the figures that a run has data for into its folder; return them by name."""
    drawings = {
        "learning_curve": (draw_learning, column(folder, "val/loss")[0] or column(folder, "val/return")[0]),
        "pretraining": (draw_pretraining, column(folder, "pretrain/loss")[0]),
        "warmup": (draw_warmup, column(folder, "warmup/vaa_star")[0]),
        "multistability": (draw_multistability, read_portraits(folder)),
        "portraits": (draw_portraits, read_portraits(folder)),
    }
    return {name: draw(folder, folder / f"{name}.png") for name, (draw, data) in drawings.items() if data}


def draw_comparison(runs: Mapping[str, Path], output: Path) -> Path:
    """Draw the validation loss of several runs, by label, over their epochs; return ``output``."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for index, (label, folder) in enumerate(runs.items()):
        epochs, losses = column(folder, "val/loss", "epoch")
        axes.plot([epoch + 1 for epoch in epochs], losses, label=label, **style(index))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, "Validation loss", "epoch", "loss", log=True)
    return save(figure, output)


def main(argv: list[str]) -> int:
    """Draw a comparison; return the exit status."""
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
