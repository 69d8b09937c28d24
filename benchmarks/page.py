"""The page of the benchmarks: a summary of the figures in words, with their chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import chart, results
from benchmarks.chart import select
from benchmarks.results import Figure

PAGE, CSV, CHART = "BENCHMARKS.md", "benchmarks/results.csv", "benchmarks/results.png"


def write(folder: Path, page: str = PAGE) -> None:
    """Write page and chart from the CSV that lies in a folder."""
    origin, figures = results.read(folder / CSV)
    chart.draw(figures, folder / CHART)
    (folder / page).write_text(text(origin, figures))


def text(origin: str, figures: Sequence[Figure]) -> str:
    """Return the page in Markdown; it leaves out what was not measured."""
    parts = [training_step, growth, vanishing_gradient, warmup, settling, epoch]
    head = f"""\
# Benchmarks

![Time and memory of training steps, of the warmup and of VAA]({CHART})

Measured on {origin}.

[{CSV}]({CSV}) has every figure. A ratio compares two contenders that took turns in one process; "a to b" is the
range over the sizes that were measured. `python -m benchmarks --output {PAGE}` measures again, in about twelve
minutes on two idle cores.
"""
    return "\n".join([head, *(line for part in parts for line in part(figures))]) + "\n"


def span(values: Sequence[float]) -> str:
    """Return the range of values in two digits."""
    low, high = (f"{value:.2g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def value(figures: Sequence[Figure], contender: str) -> float:
    """Return the value of the only figure of a contender."""
    (found,) = [figure.value for figure in figures if figure.contender == contender]
    return found


def training_step(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a table of time and memory, cell by cell."""
    steps = select(figures, "training step")
    if not steps:
        return
    names = ("T", "B", "H", "L")
    sizes = [f"{name} {span([step.size[name] for step in steps])}" for name in names]
    yield f"**Training step**, forward and backward: {', '.join(sizes)}; memory at the size in the chart.\n"
    yield "| cell | time / `nn.GRU` | time / `nn.LSTM` | plain loop over time / cell | memory / `nn.GRU` |"
    yield "| --- | --: | --: | --: | --: |"
    for cell in dict.fromkeys(step.contender for step in steps if "loop" not in step.contender):
        columns = [
            ("training step", "/ nn.GRU", cell),
            ("training step", "/ nn.LSTM", cell),
            ("training step", f"/ {cell}", f"loop {cell}"),
            ("peak memory", "/ nn.GRU", cell),
        ]
        found = [[f.value for f in select(figures, s, q) if f.contender == c] for s, q, c in columns]
        yield f"| {cell} | {' | '.join(span(values) if values else '' for values in found)} |"
    yield ""


def growth(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on what the last doubling of each size multiplies the time by."""
    doubled = {"T": "steps", "H": "units", "B": "sequences in a batch", "N": "states compared for VAA"}
    factors = []
    for name, words in doubled.items():
        grown: dict[str, list[float]] = {}
        for figure in select(figures, f"growth with {name}"):
            grown.setdefault(figure.contender, []).append(figure.value)
        if grown:
            top = max(figure.size[name] for figure in select(figures, f"growth with {name}"))
            factors.append(f"{span([times[-1] / times[-2] for times in grown.values()])} for {top} {words}")
    if factors:
        yield f"- **Growth.** The last doubling multiplies the time by {', '.join(factors)}."


def vanishing_gradient(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on what a vanishing gradient costs."""
    ratios = [f.value for f in figures if f.subject == "vanishing gradient" and f.quantity.startswith("/")]
    if ratios:
        yield (
            f"- **A vanishing gradient** costs nothing more: a loss on the last output alone takes {span(ratios)} "
            "of the time of one on all outputs."
        )


def warmup(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on each cell that was warmed up."""
    seconds = select(figures, "warmup", "s for 100 steps")
    for fast, slow in zip(seconds[::2], seconds[1::2], strict=True):
        (ratio,) = select(figures, "warmup", f"/ {fast.contender}")
        yield (
            f"- **A warmup** of 100 steps ({fast.contender}, {chart.size_text(fast)}) takes {fast.value:.3g} s, and "
            f"{slow.value:.3g} s one sequence at a time: {ratio.value:.2g} times as long."
        )


def settling(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on each network whose VAA was measured."""
    times, values = select(figures, "settling"), select(figures, "settling", "VAA")
    for contender in [figure.contender for figure in values if "every step" not in figure.contender]:
        early, every = (value(times, name) for name in (contender, f"{contender}, every step"))
        one, other = (value(values, name) for name in (contender, f"{contender}, every step"))
        same = f"VAA {one:.4f} both ways" if one == other else f"VAA {one:.4f} and {other:.4f}"
        yield (
            f"- **VAA at {values[0].size['M']:,} steps**, {contender}: {early / 1e3:.2g} s with early stop, "
            f"{every / 1e3:.2g} s without; {same}."
        )


def epoch(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on the parts of an epoch, the largest first."""
    seconds = {figure.contender: figure.value for figure in select(figures, "epoch", "s")}
    if seconds:
        whole, once = seconds.pop("whole epoch"), seconds.pop("warmup, once")
        shares = [
            f"{part} {100 * s / whole:.2g} %" for part, s in sorted(seconds.items(), key=lambda i: -i[1])
        ]
        yield (
            f"- **An epoch** of the default run takes {whole:.2g} s: {', '.join(shares)}. The warmup before it takes "
            f"{once:.2g} s, once."
        )
