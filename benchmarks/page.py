"""BENCHMARKS.md: the chart, and tables of the measurements in the CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import chart
from benchmarks.measure import Measurement, read
from lightning_warmup.reporting.rows import markdown

PAGE, CSV, CHART = "BENCHMARKS.md", "benchmarks/results.csv", "benchmarks/results.png"
TEXT = f"""\
# Benchmarks

![Time and memory of training steps, time of the warmup and of VAA]({CHART})

[{CSV}]({CSV}) holds every measurement, as medians and spreads.
`python -m benchmarks --output {PAGE}` measures again, in twelve minutes on two idle cores.

Measured on {{origin}}.

In the chart, loops run a cell step by step, "one by one" warms up one sequence at a time, and "every step" settles
for 10,000 steps without an early stop. In the table, a training step is a forward and a backward pass, and "a to b"
is the range over all sizes.

{{steps}}

A training step of a `SideMemory` with about as many parameters, at H = 128, takes {{memory_gru}} of the time of
`nn.GRU`, and {{memory_lstm}} of that of `nn.LSTM`.

An epoch of the default run, and its warmup:

{{epoch}}
"""


def write(folder: Path, page: str) -> None:
    """Write page and chart from the CSV file in a folder."""
    origin, found = read(folder / CSV)
    chart.draw(found, folder / CHART)
    memory_gru, memory_lstm = (
        span(found, "side memory", f"/ nn.{kind.upper()}", f"memory {kind}") for kind in ("gru", "lstm")
    )
    text = TEXT.format(
        origin=origin,
        steps=training_steps(found),
        memory_gru=memory_gru,
        memory_lstm=memory_lstm,
        epoch=epoch(found),
    )
    (folder / page).write_text(text)


def training_steps(found: Sequence[Measurement]) -> str:
    """Return a table of the cells: time and memory of a training step, as ratios."""
    cells = dict.fromkeys(each.contender for each in found if each.subject == "training step")
    rows = []
    for cell in (cell for cell in cells if not cell.startswith("loop ")):
        row = [
            cell,
            span(found, "training step", "/ nn.GRU", cell),
            span(found, "training step", "/ nn.LSTM", cell),
            span(found, "training step", f"/ {cell}", f"loop {cell}"),
            span(found, "peak memory", "/ nn.GRU", cell),
        ]
        rows.append(row)
    header = ["cell", "time / `nn.GRU`", "time / `nn.LSTM`", "loop / cell", "memory / `nn.GRU`"]
    return markdown(header, rows)


def span(found: Sequence[Measurement], subject: str, quantity: str, contender: str) -> str:
    """Return the range of a measurement over all sizes, with two digits."""
    wanted = (subject, quantity, contender)
    values = [each.value for each in found if (each.subject, each.quantity, each.contender) == wanted]
    ends = [f"{end:.2g}" for end in (min(values), max(values))] if values else []
    return " to ".join(dict.fromkeys(ends))


def epoch(found: Sequence[Measurement]) -> str:
    """Return a table of the parts of an epoch."""
    parts = [each for each in found if (each.subject, each.quantity) == ("epoch", "s")]
    return markdown(["part", "seconds"], [[each.contender, f"{each.value:.2g}"] for each in parts])
