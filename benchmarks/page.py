"""The page of the benchmarks: a summary of the figures in words, with their chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import chart
from benchmarks.measure import Figure, read

PAGE, CSV, CHART = "BENCHMARKS.md", "benchmarks/results.csv", "benchmarks/results.png"
HEAD = f"""\
# Benchmarks

![Time and memory of training steps, time of the warmup and of VAA]({CHART})

Measured on {{origin}}.

All figures are in [{CSV}]({CSV}): medians, with half the distance of the quartiles as
their spread. Contenders of a ratio took turns. In the table "a to b" is the range over all sizes.
`python -m benchmarks --output {PAGE}` measures again, in twelve minutes on two idle cores."""
GROWING = {"T": "steps", "H": "units", "B": "sequences in a batch", "N": "states compared for VAA"}
TABLE = """\
| cell | time / `nn.GRU` | time / `nn.LSTM` | plain loop over time / cell | memory / `nn.GRU` |
| --- | --: | --: | --: | --: |"""


def write(folder: Path, page: str) -> None:
    """Write page and chart from the CSV that lies in a folder."""
    origin, figures = read(folder / CSV)
    chart.draw(figures, folder / CHART)
    facts = [*steps(figures), *warmup(figures), *settling(figures), *epoch(figures)]
    parts = [HEAD.format(origin=origin), "\n".join(table(figures)), "\n".join(facts)]
    (folder / page).write_text("\n\n".join(filter(None, parts)) + "\n")


def select(figures: Sequence[Figure], subject: str, quantity: str = "ms") -> dict[str, list[float]]:
    """Return the values of a subject and quantity by contender, in the order in which they were measured."""
    found: dict[str, list[float]] = {}
    for figure in figures:
        if (figure.subject, figure.quantity) == (subject, quantity):
            found.setdefault(figure.contender, []).append(figure.value)
    return found


def span(values: Sequence[float]) -> str:
    """Return the range of values in two digits."""
    return (
        " to ".join(dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values)))) if values else ""
    )


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the lines of a table of training steps, cell by cell."""
    measured = [figure for figure in figures if figure.subject == "training step"]
    if measured:
        ends = {name: sorted({getattr(step, name) for step in measured}) for name in "TBHL"}
        sizes = ", ".join(f"{name}={' and '.join(map(str, values))}" for name, values in ends.items())
        yield f"A **training step**, forward and backward, at {sizes}; memory at the size in the chart:\n"
        yield TABLE
    for cell in (name for name in select(figures, "training step") if "loop" not in name):
        columns = [("training step", "/ nn.GRU", cell), ("training step", "/ nn.LSTM", cell)]
        columns += [("training step", f"/ {cell}", f"loop {cell}"), ("peak memory", "/ nn.GRU", cell)]
        found = [select(figures, subject, quantity).get(name, []) for subject, quantity, name in columns]
        yield f"| {cell} | {' | '.join(map(span, found))} |"


def steps(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield what else is known of training steps, and of comparing states."""
    gru = [f for f in figures if (f.contender, f.quantity) == ("nn.GRU", "ms")]
    same = [f.value for f in gru if (f.T, f.B, f.H) == (100, 32, 64) and f.L != 2]
    if len(same) > 1:
        yield f"- **Drift**: one and the same step of `nn.GRU` took {span(same)} ms in the course of this run."
    factors = []
    for name, words in GROWING.items():
        if grown := select(figures, f"growth with {name}"):
            top = max(getattr(figure, name) for figure in figures if figure.subject == f"growth with {name}")
            factors.append(f"{span([times[-1] / times[-2] for times in grown.values()])} ({top} {words})")
    if factors:
        yield f"- **Growth**: the last doubling multiplies the time by {', '.join(factors)}."
    if ratios := [f.value for f in figures if f.subject == "vanishing gradient" and "/" in f.quantity]:
        yield f"- **Vanishing gradients**: a loss on the last output costs {span(ratios)} times one on all outputs."


def warmup(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on the warmup of every cell."""
    seconds = {f.contender: f for f in figures if f.quantity == "s for 100 steps"}
    for name, fast in seconds.items():
        if slow := seconds.get(f"{name}, one by one"):
            (ratio,) = select(figures, "warmup", f"/ {name}")[slow.contender]
            yield (
                f"- **Warmup**, 100 steps of {name}, {fast.size()}: {fast.value:.3g} s, extrapolated; "
                f"{slow.value:.3g} s with one sequence at a time (a step: {ratio:.2g} times as long)."
            )


def settling(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence on VAA for every network."""
    times, vaa = select(figures, "settling"), select(figures, "settling", "VAA")
    for name in vaa:
        if (every := f"{name}, every step") in vaa:
            yield (
                f"- **VAA at 10,000 steps**, {name}: {times[name][0] / 1e3:.2g} s with early stop, "
                f"{times[every][0] / 1e3:.2g} s without; VAA is {span(vaa[name] + vaa[every])}."
            )


def epoch(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield where the time of an epoch goes, and what the warmup before it takes."""
    parts = {part: value for part, (value,) in select(figures, "epoch", "s").items()}
    if parts:
        whole, once = parts.pop("whole epoch"), parts.pop("warmup, once")
        ordered = sorted(parts, key=parts.__getitem__, reverse=True)
        shares = ", ".join(f"{part} {100 * parts[part] / whole:.2g} %" for part in ordered)
        yield f"- **An epoch** of the default run, {whole:.2g} s: {shares}."
        yield f"- **The warmup** of the default run, once before the first epoch: {once:.2g} s."
