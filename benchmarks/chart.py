"""The chart of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Chart
from matplotlib.patches import Patch

from benchmarks.results import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; those of bars differ in grey as well, and by hatching.
BLACK, BLUE, ORANGE, GREEN, VERMILION = "#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00"
BARS = {"torch": (BLACK, ""), "this project": (BLUE, ""), "as commonly written": (ORANGE, "///")}
LINES = (
    (BLACK, "o", "-"), (BLUE, "s", "-"), (VERMILION, "^", "--"), (GREEN, "D", "-."), (ORANGE, "v", ":"),
)  # fmt: skip
BY_HAND = ("loop ", "one by one", "every step")
"""What names of contenders contain that do without this project's fast paths."""


def select(figures: Sequence[Figure], subject: str, quantity: str = "ms") -> list[Figure]:
    """Return the figures of one subject and quantity."""
    return [figure for figure in figures if (figure.subject, figure.quantity) == (subject, quantity)]


def size_text(figure: Figure, *, without: str = "") -> str:
    """Return the size of a figure, such as "T=100 B=32"."""
    return " ".join(f"{name}={number}" for name, number in figure.size.items() if name != without)


def by_cell(figure: Figure) -> str:
    """Return a key that sorts every loop beside its cell, and torch's cells to the end."""
    return figure.contender.removeprefix("loop ")


def bars(axes: Axes, figures: Sequence[Figure], title: str, unit: str) -> None:
    """Draw a bar for every figure, the first on top, with its number."""
    for place, figure in enumerate(figures):
        by_hand = any(word in figure.contender for word in BY_HAND)
        kind = "as commonly written" if by_hand else "torch" if "nn." in figure.contender else "this project"
        colour, hatch = BARS[kind]
        bar = axes.barh(place, figure.value, color=colour, hatch=hatch, edgecolor="white")
        axes.bar_label(bar, fmt=f"{figure.value:,.0f}", padding=3, fontsize=8)
    axes.set_yticks(range(len(figures)), [figure.contender for figure in figures], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    if unit == "ms":
        axes.set_xscale("log")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(f"{unit}, logarithmic" if unit == "ms" else unit)


def lines(axes: Axes, figures: Sequence[Figure], title: str) -> None:
    """Draw a line over T for every contender."""
    names = list(dict.fromkeys(figure.contender for figure in figures))
    for name, (colour, marker, style) in zip(names, LINES, strict=True):
        points = [(figure.size["T"], figure.value) for figure in figures if figure.contender == name]
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, linestyle=style, label=name)
    axes.set(title=title, xlabel="length T of the sequences", ylabel="ms", xscale="log", yscale="log")
    lengths = sorted({figure.size["T"] for figure in figures})
    axes.set_xticks(lengths, list(map(str, lengths)))
    axes.set_xticks([], minor=True)
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Draw training steps, their memory, their growth with T, and the two procedures, as far as measured."""
    chart = Chart(figsize=(10, 8), layout="constrained")
    steps, memory, growth, procedures = chart.subplots(2, 2).flat
    if found := select(figures, "training step"):
        size = ([figure for figure in found if "loop" in figure.contender] or found)[-1].size
        found = sorted((figure for figure in found if figure.size == size), key=by_cell)
        bars(steps, found, f"Training step, {size_text(found[0])}", "ms")
    if found := sorted(select(figures, "peak memory", "MB"), key=by_cell):
        bars(memory, found, f"Peak memory of a training step, {size_text(found[0])}", "MB")
    if found := select(figures, "growth with T"):
        lines(growth, found, f"Training step of one layer, {size_text(found[0], without='T')}")
    settling = [figure for figure in select(figures, "settling") if "sampling" not in figure.contender]
    if found := select(figures, "warmup") + settling:
        bars(procedures, found, "A step of the warmup, and states settling for VAA", "ms")
    for axes in chart.axes:
        axes.set_axis_on() if axes.has_data() else axes.set_axis_off()
    kinds = [Patch(facecolor=c, hatch=h, edgecolor="white", label=kind) for kind, (c, h) in BARS.items()]
    chart.legend(handles=kinds, loc="outside lower center", ncols=len(kinds))
    chart.savefig(path, dpi=110)
