"""The section "Does it ever harm?" of RESULTS.md, over the rows of ``studies/no_regret.yaml`` that there are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from lightning_warmup.reporting.figures import style
from lightning_warmup.reporting.rows import markdown
from studies.figures import curve_of, panel_grid, save_with_legend
from studies.grid import read_study
from studies.groups import Result, pick
from studies.tables import (
    LEARNT,
    change,
    count_of,
    first_metric,
    goodness,
    in_words,
    number,
    share,
    sign,
    spread,
    values_of,
)

STUDY = Path(__file__).parent / "no_regret.yaml"
VARIANTS = ("none", "warmup", "double", "silent", "silent-equal", "silent-rest")
MEMORY = {
    "copy_50", "copy_300", "denoising_200", "denoising_pad_5", "row_mnist", "permuted_mnist", "tmaze_20",
    "tmaze_50", "tmaze_100", "repeat_first", "repeat_first_medium",
}  # fmt: skip
"""Tasks that ask for a long memory, by their names in the study."""
METRICS = ("test.errors", "test.accuracy", "test.loss")
"""What a task is judged by, the first that its runs have; where an agent learns, the epochs until it has."""
DRAWN = {
    "none": "without warmup",
    "warmup": "with warmup",
    "silent-equal": "with a memory at its side, warmed up",
}
"""Procedures whose learning curves are drawn, and what the legend says."""
LONGER = {"errors": "errors_at_length.", "return": "return_at_length.", "loss": "test_at_length."}
"""What is measured on longer sequences; the first that its runs have counts."""
AGENTS = {"tmaze", "gym"}
SHORT = "silent-short"
"""The silent network with as many parameters as none, after a warmup of half the steps."""
SILENT = ("silent", "silent-equal")
"""The silent networks of the same objective: with as many units as none, and with as many parameters."""
ENOUGH, NO_HARM = 3, "no harm"
"""Seeds from which on a verdict stands, and what it says."""
Runs = Mapping[str, Sequence[Result]]
"""The runs of a task with a cell by their variant."""


def still(results: Iterable[Result], cell: str, variants: Collection[str]) -> str:
    """Return how many policies are optimal in a T-Maze of 50 times the length, of how many, with the interval."""
    longest = [
        values[-1]
        for (task, its_cell), runs in by_task(results).items()
        if task.startswith("tmaze") and its_cell == cell
        for variant in variants
        for run in runs.get(variant, [])
        if (values := [value for name, value in run.metrics.items() if name.startswith("optimal_at_length.")])
    ]
    return count_of(int(sum(longest)), len(longest)) if longest else "0 of 0"


@cache
def planned() -> tuple[tuple[str, str], ...]:
    """Return the tasks of the study with their cells, those that ask for a long memory first."""
    pairs = dict.fromkeys(tuple(run.name.split("-")[:2]) for run in read_study(STUDY).runs())
    return tuple(sorted(((task, cell) for task, cell in pairs), key=lambda pair: pair[0] not in MEMORY))


def by_task(results: Iterable[Result]) -> dict[tuple[str, str], dict[str, list[Result]]]:
    """Return the runs of the study by task and cell, in the planned order, then by variant."""
    rows: dict[tuple[str, str], dict[str, list[Result]]] = {pair: {} for pair in planned()}
    for result in pick(results, study="no_regret"):
        task, cell, variant = result["run"].rpartition("-seed_")[0].split("-", 2)
        rows.setdefault((task, cell), {}).setdefault(variant, []).append(result)
    return {pair: runs for pair, runs in rows.items() if runs}


def metric_of(runs: Runs) -> str:
    """Return what a task is judged by."""
    members = [result for results in runs.values() for result in results]
    if members[0]["data.name"] in AGENTS:
        return LEARNT
    return first_metric(runs, METRICS)


def points(results: Sequence[Result], metric: str) -> str:
    """Return the median and all points: ``0.92 (0.9 0.92 0.94)``."""
    if not results:
        return "not run"
    values = [goodness(result, metric) for result in results]
    texts = [
        "never" if math.isinf(value) else number(sign(metric) * value)
        for value in [statistics.median(values), *values]
    ]
    return texts[0] if len(values) == 1 else f"{texts[0]} ({' '.join(texts[1:])})"


def verdict(task: str, runs: Runs, metric: str, ours: str) -> str:
    """Return what the rows at hand say about the goal for one of the procedures.

    Not worse: its median is at least as good as the worst run without a warmup. For a silent network, where memory
    is asked for, also: at least as good as the worst run of the best other procedure with enough seeds.
    """
    if "none" not in runs or ours not in runs:
        return "not run"
    good = {variant: [goodness(run, metric) for run in results] for variant, results in runs.items()}
    median = statistics.median(good[ours])
    text = NO_HARM if median >= min(good["none"]) else "**harm**"
    others = {name for name, values in good.items() if name not in SILENT and len(values) >= ENOUGH}
    if ours in SILENT and task in MEMORY and others > {"none"}:
        best = max(sorted(others), key=lambda variant: statistics.median(good[variant]))
        text += ", as the best" if median >= min(good[best]) else f", {best} is better"
    seeds = min(len(runs["none"]), len(runs[ours]))
    if seeds >= ENOUGH:
        return text
    return f"{text} (one seed)" if seeds == 1 else f"{text} ({seeds} seeds)"


def settled(results: Iterable[Result], ours: str) -> dict[tuple[str, str], bool]:
    """Return whether a procedure does no harm, by task and cell, where both have three seeds or more."""
    return {
        (task, cell): verdict(task, runs, metric_of(runs), ours).startswith(NO_HARM)
        for (task, cell), runs in by_task(results).items()
        if min(len(runs.get("none", [])), len(runs.get(ours, []))) >= ENOUGH
    }


def harmless(results: Iterable[Result], ours: str) -> str:
    """Return in how many rows with three seeds or more a procedure does no harm, with the interval."""
    found = settled(results, ours)
    return count_of(sum(found.values()), len(found)) if found else "0 of 0"


def harmed(results: Iterable[Result], ours: str) -> str:
    """Return the rows with three seeds or more in which a procedure does harm: ``co2 (gru), flip flop (lstm)``."""
    found = [pair for pair, no_harm in settled(results, ours).items() if not no_harm]
    return ", ".join(f"{task.replace('_', ' ')} ({cell})" for task, cell in found) or "none"


def unlearnt(results: Iterable[Result], ours: str) -> int:
    """Return in how many of these rows no run of none has learnt, so that there was nothing to lose."""
    rows = by_task(results)
    return sum(not values_of(rows[pair]["none"], LEARNT) for pair in settled(results, ours))


def missing(results: Iterable[Result]) -> list[str]:
    """Return the tasks of the study, with their cells, that have not both runs with none and with silent-equal."""
    done = {key for key, runs in by_task(results).items() if {"none", "silent-equal"} <= runs.keys()}
    absent: dict[str, list[str]] = {}
    for task, cell in planned():
        if (task, cell) not in done:
            absent.setdefault(task, []).append(cell)
    return [f"{task.replace('_', ' ')} ({' and '.join(cells)})" for task, cells in absent.items()]


def measured(results: Iterable[Result]) -> str:
    """Return a table, a row a task and cell: the metric after every procedure."""
    rows = []
    for (task, cell), runs in by_task(results).items():
        metric = metric_of(runs)
        found = [points(runs.get(variant, []), metric) for variant in VARIANTS]
        rows.append([task.replace("_", " "), cell, in_words(metric), *found])
    return markdown(["task", "cell", "metric", *VARIANTS], rows)


def judged(results: Iterable[Result]) -> str:
    """Return a table, a row a task and cell: the verdict on every procedure against none."""
    rows = []
    for (task, cell), runs in by_task(results).items():
        metric = metric_of(runs)
        verdicts = [verdict(task, runs, metric, ours) for ours in VARIANTS[1:]]
        rows.append([task.replace("_", " "), cell, *verdicts])
    return markdown(["task", "cell", *VARIANTS[1:]], rows)


def changes(results: Iterable[Result]) -> str:
    """Return a table, a row a task and cell: the mean changes from none to the silent networks."""
    rows, header = [], ["task", "cell"]
    for ours in SILENT:
        header += [f"none -> {ours}", "P(better)"]
    for (task, cell), runs in by_task(results).items():
        metric, row = metric_of(runs), [task.replace("_", " "), cell]
        for ours in SILENT:
            row += change(runs.get(ours, []), runs.get("none", []), metric)
        rows.append(row)
    return markdown(header, rows)


def longer(results: Iterable[Result]) -> str:
    """Return a table, a row a task and cell: medians and ranges at the greatest length beyond the training's."""
    rows = []
    for (task, cell), runs in by_task(results).items():
        names = {name for group in runs.values() for result in group for name in result.metrics}
        for metric, prefix in LONGER.items():
            lengths = [int(name.removeprefix(prefix)) for name in names if name.startswith(prefix)]
            if lengths:
                longest = max(lengths)
                found = [spread(runs.get(variant, []), f"{prefix}{longest}") for variant in VARIANTS]
                found = [text or "not run" for text in found]
                rows.append([task.replace("_", " "), cell, metric, str(longest), *found])
                break
    return markdown(["task", "cell", "metric", "length", *VARIANTS], rows)


def learnt(results: Iterable[Result]) -> str:
    """Return a table of how many runs learnt, with intervals, by what the task asks for.

    It counts the tasks, with their cells, that have runs with each of the procedures that are drawn.
    """
    rows = []
    complete = {key: runs for key, runs in by_task(results).items() if DRAWN.keys() <= runs.keys()}
    for words, asked in (("a long memory", True), ("none, or a short one", False)):
        tasks = [runs for (task, _), runs in complete.items() if (task in MEMORY) == asked]
        counted = [share([run for runs in tasks for run in runs[variant]]) for variant in DRAWN]
        rows.append([words, str(len(tasks)), *counted])
    return markdown(["asked for", "tasks", *DRAWN], rows)


def shares_of_seconds(results: Iterable[Result]) -> list[float]:
    """Return the seconds of the warmup of runs, in parts of those of their training."""
    timed = [result.metrics for result in results if result.metrics.get("seconds.fit")]
    return [metrics["seconds.warmup"] / metrics["seconds.fit"] for metrics in timed]


def seconds(results: Iterable[Result]) -> str:
    """Return a table: the seconds of a warmup in parts of those of the training, over tasks, cells and seeds."""
    rows = []
    for variant in (*VARIANTS[1:], SHORT):
        parts = shares_of_seconds(run for runs in by_task(results).values() for run in runs.get(variant, []))
        if parts:
            values = [f"{value:.2f}" for value in (statistics.median(parts), min(parts), max(parts))]
            rows.append([variant, str(len(parts)), *values])
    return markdown(["procedure", "runs", "median", "least", "most"], rows)


def halved(results: Iterable[Result]) -> str:
    """Return a table: what half the steps of the warmup bring and cost, where both have been run."""
    compared, rows = ("silent-equal", SHORT), []
    for (task, cell), runs in by_task(results).items():
        if runs.keys() >= {"none", *compared}:
            metric = metric_of(runs)
            found = [points(runs[variant], metric) for variant in ("none", *compared)]
            parts = [f"{statistics.median(shares_of_seconds(runs[variant])):.2f}" for variant in compared]
            rows.append([task.replace("_", " "), cell, in_words(metric), *found, *parts])
    header = ["task", "cell", "metric", "none", *compared, *(f"seconds, {variant}" for variant in compared)]
    return markdown(header, rows)


def draw_learning(results: Iterable[Result], tasks: Mapping[str, str], output: Path) -> Path | None:
    """Draw the learning curves of none, warmup and silent-equal, a panel a task and a line a run.

    Args:
        results: Runs of the study.
        tasks: Titles of the panels by the tasks' names; those without runs are left out.
        output: The picture.
    """
    found = by_task(results)
    panels = {title: found[task, "gru"] for task, title in tasks.items() if (task, "gru") in found}
    if not panels:
        return None
    figure, grid = panel_grid(len(panels), len(panels), (0.8, 0.9), (3.6, 2.7))
    handles = {}
    for axes, (title, runs) in zip(grid, panels.items(), strict=True):
        for index, (variant, words) in enumerate(DRAWN.items()):
            for result in runs.get(variant, []):
                epochs, returns = zip(*sorted(curve_of(result, "curve.return.").items()), strict=True)
                (handles[words],) = axes.plot(epochs, returns, **style(index), alpha=0.8)
        axes.set(xlabel="epochs of training", title=title)
        axes.grid(alpha=0.3)
    grid[0].set_ylabel("validation return")
    return save_with_legend(figure, handles, len(handles), output)
