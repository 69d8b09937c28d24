"""The chart of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.measure import Measurement
from lightning_warmup.reporting.figures import COLORS, finish, style

TORCH, OURS, LOOP = COLORS[0], COLORS[2], COLORS[1]
BARS = {"torch": (TORCH, ""), "this project": (OURS, ""), "as commonly written": (LOOP, "///")}


def bars(axes: Axes, found: Sequence[Measurement], title: str, unit: str) -> None:
    """Draw a bar with its number for every measurement, the first on top; see `BARS` for the colours."""
    for each in found:
        slow = any(words in each.contender for words in ("loop ", "one by one", "every step"))
        ours = "torch" if each.contender.startswith("nn.") else "this project"
        colour, hatch = BARS["as commonly written" if slow else ours]
        bar = axes.barh(each.contender, each.value, color=colour, hatch=hatch, edgecolor="white")
        axes.bar_label(bar, fmt=f"{each.value:,.0f}", padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.tick_params("y", labelsize=10)
    axes.set(title=title, xlabel={"ms": "milliseconds", "MB": "megabytes"}[unit], xmargin=0.15)


def size_in_words(each: Measurement) -> str:
    """Return the size of a measured network in words, for a title."""
    layers = f"{each.L} layers of " if each.L and each.L > 1 else ""
    length = f", {each.T} steps" if each.T else ""
    return f"{layers}{each.H} units, batches of {each.B}{length}"


def lines(axes: Axes, found: Sequence[Measurement], title: str) -> None:
    """Draw a line over T for every contender."""
    for index, name in enumerate(dict.fromkeys(each.contender for each in found)):
        points = [(each.T, each.value) for each in found if each.contender == name]
        axes.plot(*zip(*points, strict=True), label=name, **style(index))
    axes.set_xscale("log")
    lengths = sorted({each.T for each in found if each.T})
    axes.set_xticks(lengths, list(map(str, lengths)))
    axes.set_xticks([], minor=True)
    finish(axes, title=title, xlabel="steps of the sequences", ylabel="milliseconds", yscale="log")


def draw(measured: Sequence[Measurement], path: Path) -> None:
    """Draw the measurements of training steps, memory, growth with T, warmup and settling."""

    def select(subject: str, quantity: str = "ms") -> list[Measurement]:
        chosen = [each for each in measured if (each.subject, each.quantity) == (subject, quantity)]
        return sorted(chosen, key=lambda each: each.contender.removeprefix("loop "))  # a loop below its cell

    chart = Figure(figsize=(7, 15), layout="constrained")
    steps, memory, growth, procedures = chart.subplots(4)
    if found := select("training step"):
        loops = [each for each in found if "loop" in each.contender]
        size = max(loops or found, key=lambda each: (each.T, each.H, each.L)).size()
        shown = [each for each in found if each.size() == size]
        bars(steps, shown, f"Training step\n{size_in_words(shown[0])}", "ms")
    if found := select("peak memory", "MB"):
        bars(memory, found, f"Peak memory of a training step\n{size_in_words(found[0])}", "MB")
    if found := select("growth with T"):
        lines(growth, found, f"Training step of one layer\n{size_in_words(found[0]._replace(T=None))}")
    found = [each._replace(contender=f"warmup step, {each.contender}") for each in select("warmup")]
    if found := found + [each for each in select("settling") if "sampling" not in each.contender]:
        bars(procedures, found, "A step of a warmup, and settling for the VAA", "ms")
    for axes in chart.axes:
        axes.set_visible(axes.has_data())
    kinds = [Patch(facecolor=c, hatch=h, edgecolor="white", label=name) for name, (c, h) in BARS.items()]
    chart.legend(handles=kinds, loc="outside lower center", ncols=len(kinds))
    chart.savefig(path, dpi=100)
