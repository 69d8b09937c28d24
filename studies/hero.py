"""Draw the picture of the README: ``python -m studies.hero [--output .github/hero.png]``, a minute on one core.

Above: portraits of a GRU as it is initialised, after the published warmup, and after the warmup for rest. Below:
its error against the length of the test sequences, from the rows of ``studies/results/memory.csv``.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from lightning_warmup import Portrait, Published, RecurrentNetwork, portrait, warmup
from lightning_warmup.reporting.figures import GREY, finish, save, style
from studies.figures import draw_line, points_of
from studies.groups import Result, read_results

ROWS = Path(__file__).parent / "results" / "memory.csv"
LABELS = {
    "none": "initialised",
    "published": "after the published warmup",
    "rest": "after the warmup for rest",
}
WARMUPS: dict[str, dict[str, Any]] = {
    "published": {"objective": Published(extension=1)},
    "rest": {"objective": "rest"},
}
LENGTH, HIDDEN, STATES, STEPS = 100, 64, 64, 2000


def portraits() -> dict[str, Portrait]:
    """Warm up copies of one GRU, and return a portrait of each."""
    torch.manual_seed(0)
    network = RecurrentNetwork(1, HIDDEN, 1)
    sequences = torch.randn(LENGTH, 512, 1)
    taken = {}
    for name in LABELS:
        rnn = copy.deepcopy(network)
        if name in WARMUPS:
            warmup(rnn, sequences, **WARMUPS[name])
        taken[name] = portrait(rnn, sequences[:, :STATES], steps=STEPS)
    return taken


def draw_portrait(axes: Axes, name: str, taken: Portrait) -> None:
    """Draw the first steps of every state and the places where they end."""
    colour = style(list(LABELS).index(name))["color"]
    axes.plot(taken.path[:, :, 0], taken.path[:, :, 1], color=GREY, linewidth=0.6)
    for at_rest, face in ((True, colour), (False, "white")):
        ends = taken.settled[taken.resting == at_rest]
        axes.scatter(ends[:, 0], ends[:, 1], s=25, facecolor=face, edgecolor=colour, zorder=2)
    places = round(STATES * float(taken.vaa[-1]))
    resting = int(taken.resting.sum())
    where = "1 place" if places == 1 else f"{places} places"
    still = {0: "none", STATES: "all"}.get(resting, str(resting))
    axes.set_title(f"{LABELS[name]}:\n{where}, {still} at rest", fontsize=10)
    axes.set(xticks=[], yticks=[], xmargin=0.1, ymargin=0.1)


def draw_errors(axes: Axes, results: Sequence[Result]) -> None:
    """Draw the error of each warmup against the test length: the median of the seeds, and their range."""
    for index, (name, words) in enumerate(LABELS.items()):
        chosen = [result for result in results if result["run"].split("-")[:2] == ["gru", name]]
        label = f"GRU, {'no warmup' if name == 'none' else words} ({len(chosen)} seeds)"
        draw_line(axes, points_of(chosen, "test_at_length."), index, label)
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    axes.text(LENGTH, 1.3, "nothing remembered", fontsize=8, color="0.4")
    axis = {"xlabel": "length of the test sequences (trained at 100)", "ylabel": "mean squared error"}
    finish(axes, **axis, xscale="log", yscale="log")


def main(argv: Sequence[str]) -> int:
    """Draw the picture; return the exit status."""
    parser = argparse.ArgumentParser("python -m studies.hero", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(".github/hero.png"), help="the picture")
    options = parser.parse_args(argv)
    if not ROWS.is_file():
        print(f"error: {str(ROWS)!r}: is missing; run studies/memory.yaml first", file=sys.stderr)
        return 2
    figure = plt.figure(figsize=(7, 6.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    above, below = parts
    for axes, (name, taken) in zip(above.subplots(1, 3), portraits().items(), strict=True):
        draw_portrait(axes, name, taken)
    above.suptitle(f"Where {STATES} hidden states of a GRU go under one constant input", fontsize=11)
    below.suptitle("What it still remembers of the first input", fontsize=11)
    draw_errors(below.subplots(), read_results([ROWS]))
    print(save(figure, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
