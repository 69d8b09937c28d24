"""Figures of runs; ``python -m lightning_warmup.reporting.figures OUTPUT.png LABEL=FOLDER ...`` compares them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files without a screen
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_warmup.dynamics.functional import LEFT
from lightning_warmup.dynamics.portraits import FOLDER, Portrait
from lightning_warmup.dynamics.spans import MEMORY, Spans
from lightning_warmup.runtime.files import Row, read_rows

# The palette of Okabe and Ito, which colour-blind readers can tell apart, without its yellow, too pale for a line.
COLORS = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
GREY = "0.65"  # what lies behind the lines that matter
STYLES = {"color": COLORS, "marker": "os^DvXP", "linestyle": ("-", "--", "-.", ":")}
SHARE = (-0.03, 1.05)  # limits of an axis of shares

MOMENTS = {
    "before": "as initialised",
    "pretrain": "after pretraining",
    "warmup": "after the warmup",
    "final": "after training",
}
"""The moments of a portrait in their order, in words."""

Metrics = list[Row]


def read_metrics(folder: Path) -> Metrics:
    """Return what a run has logged; nothing under ``fast_dev_run``."""
    return read_rows(folder / "metrics.csv")


def read_portraits(folder: Path) -> dict[str, Portrait]:
    """Return the portraits in a run folder by their moment."""
    paths = {moment: folder / FOLDER / f"{moment}.npz" for moment in MOMENTS}
    return {moment: Portrait.load(path) for moment, path in paths.items() if path.is_file()}


def read_memory(folder: Path) -> dict[str, Spans]:
    """Return how long pairs of histories stayed apart in a run folder, by moment."""
    paths = {moment: folder / MEMORY / f"{moment}.npz" for moment in MOMENTS}
    return {moment: Spans.load(path) for moment, path in paths.items() if path.is_file()}


def column(metrics: Metrics, name: str, axis: str = "step") -> tuple[list[float], list[float]]:
    """Return the values of a metric such as ``val/loss``, after those of the column ``axis`` in the same rows."""
    rows = [row for row in metrics if row.get(name)]
    return [float(row[axis]) for row in rows], [float(row[name]) for row in rows]


def style(index: int) -> dict[str, Any]:
    """Return the colour, marker and line style of line ``index``; in grey print, the last two tell lines apart."""
    return {name: values[index % len(values)] for name, values in STYLES.items()}


def panels(*heights: float, width: float = 6, sharex: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure of axes one above another; sizes are in inches."""
    figure = plt.figure(figsize=(width, sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), height_ratios=heights, sharex=sharex, squeeze=False)
    return figure, list(axes[:, 0])


def finish(axes: Axes, **settings: Any) -> None:
    """Set names and limits of axes, draw a grid, and a legend if lines have labels."""
    axes.set(**settings)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def save(figure: Figure, output: Path) -> Path:
    """Write a figure to a file and close it; return the file."""
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return output


def _learnt(metrics: Metrics) -> tuple[str, str, str]:
    """Return what tells how well a run has learnt, what one training value is of, and the scale of its axis."""
    return ("loss", "batch", "log") if column(metrics, "val/loss")[0] else ("return", "episode", "linear")


def draw_learning(metrics: Metrics) -> Figure:
    """Draw the loss or return over the training steps of a run, and below it the VAA if it was monitored."""
    vaa = next(
        (name for row in metrics for name in row if name.startswith("monitor_M") and name.endswith("/vaa")),
        None,
    )
    figure, axes = panels(3.9, 2.6) if vaa else panels(4)
    name, sample, scale = _learnt(metrics)
    axes[0].plot(*column(metrics, f"train/{name}"), color=GREY, label=f"training, one {sample}")
    axes[0].plot(*column(metrics, f"val/{name}"), label="validation", **style(0))
    finish(axes[0], title="Learning curve", ylabel=name, yscale=scale)
    axes[-1].set_xlabel("training step")
    if vaa:
        steps = vaa.removeprefix("monitor_M").removesuffix("/vaa")
        axes[1].plot(*column(metrics, vaa), label="all states", **style(0))
        axes[1].plot(*column(metrics, f"monitor_M{steps}/resting_vaa"), label="states at rest", **style(1))
        finish(axes[1], ylabel=f"VAA after {steps} steps", ylim=SHARE)
    return figure


def draw_pretraining(metrics: Metrics) -> Figure:
    """Draw the loss over the pretraining steps of a run."""
    figure, (axes,) = panels(4)
    axes.plot(*column(metrics, "pretrain/loss", "pretrain/step"), color="black")
    finish(axes, title="Pretraining", xlabel="pretraining step", ylabel="mean squared error", yscale="log")
    return figure


def draw_warmup(metrics: Metrics) -> Figure:
    """Draw VAA*, the loss and the stabilisation over the warmup steps of a run."""
    figure, (above, middle, below) = panels(2.6, 2.6, 1.3)
    above.plot(*column(metrics, "warmup/vaa_star", "warmup/step"), markersize=3, **style(0))
    middle.plot(*column(metrics, "warmup/loss", "warmup/step"), markersize=3, **style(0))
    below.plot(*column(metrics, "warmup/stabilization", "warmup/step"), ".", color=COLORS[2])
    finish(above, title="Warmup", ylabel="VAA*, mean of the layers", ylim=SHARE)
    finish(middle, ylabel="loss", yscale="log")
    finish(below, xlabel="warmup step", ylabel="stabilisation (steps)")
    return figure


def draw_multistability(portraits: Mapping[str, Portrait]) -> Figure:
    """Draw VAA and resting fraction of portraits, by moment, against the number M of constant steps."""
    figure, (above, below) = panels(3, 3)
    for moment, taken in portraits.items():
        look = style(list(MOMENTS).index(moment))
        above.plot(taken.steps, taken.vaa, label=MOMENTS[moment], **look)
        below.plot(taken.steps, taken.resting_fraction, **look)
        above.set_ylabel(f"VAA of {len(taken.settled)} states")
    finish(above, title="Multistability", xscale="log", ylim=SHARE)
    finish(
        below, xlabel="M, steps under a constant input", ylabel="fraction at rest", xscale="log", ylim=SHARE
    )
    return figure


def draw_portraits(portraits: Mapping[str, Portrait]) -> Figure:
    """Draw the states of portraits, by moment: their first steps under a constant input, and their ends."""
    figure, all_axes = panels(*[4.8] * len(portraits), sharex=False)
    for axes, (moment, taken) in zip(all_axes, portraits.items(), strict=True):
        axes.plot(taken.path[:, :, 0], taken.path[:, :, 1], color=GREY, linewidth=0.6)
        axes.plot([], [], color=GREY, label=f"first {len(taken.path) - 1} steps")
        axes.plot(*taken.path[0].T, ".", color="0.45", markersize=4, label="start")
        for mask, words, mark, color in (
            (taken.resting, "at rest", "o", COLORS[2]),
            (~taken.resting, "still moving", "^", COLORS[1]),
        ):
            if mask.any():
                label = f"after {taken.steps[-1]} steps, {words} ({mask.sum()})"
                axes.plot(*taken.settled[mask].T, mark, color=color, markeredgecolor="black", label=label)
        first, second = 100 * taken.variance
        finish(
            axes,
            title=f"States of the network {MOMENTS[moment]}",
            xlabel=f"first principal component ({first:.0f} % of the variance)",
            ylabel=f"second ({second:.0f} %)",
        )
    return figure


def draw_memory(memory: Mapping[str, Spans]) -> Figure:
    """Draw the share that is left of each pair's distance, against the number of steps that both read since."""
    figure, (axes,) = panels(4)
    for moment, spans in memory.items():
        look = style(list(MOMENTS).index(moment)) | {"marker": ""}
        axes.plot(spans.looks[1:], spans.shares[1:], color=look["color"], alpha=0.3, linewidth=0.6)
        axes.plot(spans.looks[1:], spans.median_shares[1:], label=MOMENTS[moment], linewidth=2, **look)
    axes.axhline(LEFT, color=GREY, linewidth=0.8)
    finish(
        axes,
        title="Memory: median (thick) and each pair of sequences",
        xlabel="steps that both have read since",
        ylabel="share of their distance that is left",
        xscale="log",
        yscale="log",
        ylim=(1e-4, 5),
    )
    return figure


def draw_run(folder: Path) -> dict[str, Path]:
    """Draw the figures that a run has data for into its folder; return them by name."""
    metrics, portraits = read_metrics(folder), read_portraits(folder)
    logged = {name for row in metrics for name, value in row.items() if value}
    figures = {}
    if logged & {"val/loss", "val/return"}:
        figures["learning_curve"] = draw_learning(metrics)
    if "pretrain/loss" in logged:
        figures["pretraining"] = draw_pretraining(metrics)
    if "warmup/vaa_star" in logged:
        figures["warmup"] = draw_warmup(metrics)
    if portraits:
        figures["multistability"] = draw_multistability(portraits)
        figures["portraits"] = draw_portraits(dict(list(portraits.items())[:2]))
    if memory := read_memory(folder):
        figures["memory"] = draw_memory(memory)
    return {name: save(figure, folder / f"{name}.png") for name, figure in figures.items()}


def draw_comparison(runs: Mapping[str, Path], output: Path) -> Path:
    """Draw the validation loss or return of several runs, by label, over their epochs; return ``output``.

    Raises:
        ValueError: If some runs have a loss and others a return.
    """
    figure, (axes,) = panels(4, width=7)
    metrics = {label: read_metrics(folder) for label, folder in runs.items()}
    if len(kinds := {_learnt(rows) for rows in metrics.values()}) > 1:
        raise ValueError("some of these runs have a loss and others a return: compare runs of one kind")
    ((name, _, scale),) = kinds
    for index, (label, rows) in enumerate(metrics.items()):
        epochs, values = column(rows, f"val/{name}", "epoch")
        axes.plot([epoch + 1 for epoch in epochs], values, label=label, **style(index))
    finish(axes, title=f"Validation {name}", xlabel="epoch", ylabel=name, yscale=scale)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return save(figure, output)


def main(argv: list[str]) -> int:
    """Draw a comparison; return the exit status."""
    runs = {label: Path(folder) for label, _, folder in (argument.partition("=") for argument in argv[1:])}
    unnamed = [argument for argument in argv[1:] if "=" not in argument]
    missing = [folder for folder in runs.values() if not (folder / "metrics.csv").is_file()]
    errors = [f"error: {argument!r}: must be LABEL=RUN_FOLDER" for argument in unnamed]
    errors = errors or [f"error: '{folder}' is no run folder: it has no metrics.csv" for folder in missing]
    if runs and not errors:
        try:
            print(draw_comparison(runs, Path(argv[0])))
            return 0
        except (OSError, ValueError) as error:  # no such folder, or a format that is unknown
            errors = [f"error: {argv[0]!r}: {error}"]
    usage = "usage: python -m lightning_warmup.reporting.figures OUTPUT.png LABEL=RUN_FOLDER ..."
    print(usage, *errors, sep="\n", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
