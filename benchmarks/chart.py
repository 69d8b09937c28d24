"""The chart of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Chart
from matplotlib.patches import Patch

from benchmarks.measure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; hatching, markers and line styles do so in grey.
BLACK, BLUE, ORANGE, GREEN, VERMILION = "#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00"
BARS = {"torch": (BLACK, ""), "this project": (BLUE, ""), "as commonly written": (ORANGE, "///")}
LINES = (
    (ORANGE, "v", ":"), (BLUE, "s", "-"), (VERMILION, "^", "--"), (GREEN, "D", "-."), (BLACK, "o", "-"),
)  # fmt: skip


def bars(axes: Axes, figures: Sequence[Figure], title: str, unit: str) -> None:
    """Draw a bar with its number for every figure, the first on top, by whom or how its contender is written."""
    for figure in figures:
        slow = any(words in figure.contender for words in ("loop ", "one by one", "every step"))
        ours = "torch" if figure.contender.startswith("nn.") else "this project"
        colour, hatch = BARS["as commonly written" if slow else ours]
        bar = axes.barh(figure.contender, figure.value, color=colour, hatch=hatch, edgecolor="white")
        axes.bar_label(bar, fmt=f"{figure.value:,.0f}", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.tick_params("y", labelsize=8)
    axes.set(title=title, xlabel=unit, xmargin=0.15)


def lines(axes: Axes, figures: Sequence[Figure], title: str) -> None:
    """Draw a line over T for every contender."""
    names = dict.fromkeys(figure.contender for figure in figures)
    for name, (colour, marker, style) in zip(names, LINES, strict=True):
        points = [(figure.T, figure.value) for figure in figures if figure.contender == name]
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, linestyle=style, label=name)
    axes.set(title=title, xlabel="length T of the sequences", ylabel="ms", xscale="log", yscale="log")
    lengths = sorted({figure.T for figure in figures if figure.T})
    axes.set_xticks(lengths, list(map(str, lengths)))
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Draw training steps, their memory, their growth, and warmup and VAA, as far as they were measured."""

    def select(subject: str, quantity: str = "ms") -> list[Figure]:
        chosen = [figure for figure in figures if (figure.subject, figure.quantity) == (subject, quantity)]
        return sorted(chosen, key=lambda f: f.contender.removeprefix("loop "))  # a loop below its cell

    chart = Chart(figsize=(12, 8), layout="constrained")
    steps, memory, growth, procedures = chart.subplots(2, 2).flat
    if found := select("training step"):
        loops = [figure for figure in found if "loop" in figure.contender]
        size = max(loops or found, key=lambda f: (f.T, f.H, f.L)).size()
        bars(steps, [f for f in found if f.size() == size], f"Training step, {size}", "ms")
    if found := select("peak memory", "MB"):
        bars(memory, found, f"Peak memory, {found[0].size()}", "MB")
    if found := select("growth with T"):
        lines(growth, found, f"Training step of one layer, {found[0].size(without='T')}")
    found = [f._replace(contender=f"warmup step, {f.contender}") for f in select("warmup")]
    if found := found + [f for f in select("settling") if "sampling" not in f.contender]:
        bars(procedures, found, "Warmup, and settling for VAA", "ms")
    for axes in chart.axes:
        axes.set_visible(axes.has_data())
    kinds = [Patch(facecolor=c, hatch=h, edgecolor="white", label=name) for name, (c, h) in BARS.items()]
    chart.legend(handles=kinds, loc="outside lower center", ncols=len(kinds))
    chart.savefig(path, dpi=100)
