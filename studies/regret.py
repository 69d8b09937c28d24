"""The section "Does it ever harm?" of RESULTS.md, over the rows of ``studies/no_regret.yaml`` that there are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from lightning_warmup.reporting.figures import style
from lightning_warmup.reporting.rows import markdown
from studies.figures import panel_grid, save_with_legend
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
SILENT = ("silent", "silent-equal")
"""Procedures that are judged: with as many units as none, and with as many parameters."""
ENOUGH, NO_HARM = 3, "no harm"
"""Seeds from which on a verdict stands, and what it says."""
Runs = Mapping[str, Sequence[Result]]
"""The runs of a task with a cell by their variant."""


def still(results: Iterable[Result], variants: Collection[str]) -> str:
    """Return how many policies of these variants are optimal in a T-Maze of 50 times the length, of how many."""
    longest = [
        values[-1]
        for (task, _), runs in by_task(results).items()
        if task.startswith("tmaze")
        for variant in variants
        for run in runs.get(variant, [])
        if (values := [value for name, value in run.metrics.items() if name.startswith("optimal_at_length.")])
    ]
    return f"{sum(longest):.0f} of {len(longest)}"


def planned() -> list[tuple[str, str]]:
    """Return the tasks of the study with their cells, those that ask for a long memory first."""
    pairs = dict.fromkeys(tuple(run.name.split("-")[:2]) for run in read_study(STUDY).runs())
    return sorted(((task, cell) for task, cell in pairs), key=lambda pair: pair[0] not in MEMORY)


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

    Not worse: its median is at least as good as the worst run without a warmup. Where memory is asked for also: at
    least as good as the worst run of the best other procedure with enough seeds.
    """
    if "none" not in runs or ours not in runs:
        return "not run"
    good = {variant: [goodness(run, metric) for run in results] for variant, results in runs.items()}
    median = statistics.median(good[ours])
    text = NO_HARM if median >= min(good["none"]) else "**harm**"
    others = {name for name, values in good.items() if name not in SILENT and len(values) >= ENOUGH}
    if task in MEMORY and others > {"none"}:
        best = max(sorted(others), key=lambda variant: statistics.median(good[variant]))
        text += ", as the best" if median >= min(good[best]) else f", {best} is better"
    seeds = min(len(runs["none"]), len(runs[ours]))
    if seeds >= ENOUGH:
        return text
    return f"{text} (one seed)" if seeds == 1 else f"{text} ({seeds} seeds)"


def harmless(results: Iterable[Result], ours: str) -> str:
    """Return in how many rows with three seeds or more a procedure does no harm, with the interval."""
    found = []
    for (task, _), runs in by_task(results).items():
        if min(len(runs.get("none", [])), len(runs.get(ours, []))) >= ENOUGH:
            found.append(verdict(task, runs, metric_of(runs), ours).startswith(NO_HARM))
    if not found:
        return "0 of 0"
    return count_of(sum(found), len(found))


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
    """Return a table, a row a task and cell: the silent networks against none, and the verdicts."""
    rows, header = [], ["task", "cell"]
    for ours in SILENT:
        header += [f"{ours} against none", "P(better)", "verdict"]
    for (task, cell), runs in by_task(results).items():
        metric, row = metric_of(runs), [task.replace("_", " "), cell]
        for ours in SILENT:
            changed = change(runs.get(ours, []), runs.get("none", []), metric)
            row += [*changed, verdict(task, runs, metric, ours)]
        rows.append(row)
    return markdown(header, rows)


def longer(results: Iterable[Result]) -> str:
    """Return a table, a row a task and cell: the medians at the greatest length beyond that of the training."""
    rows = []
    for (task, cell), runs in by_task(results).items():
        names = {name for group in runs.values() for result in group for name in result.metrics}
        for metric, prefix in LONGER.items():
            lengths = [int(name.removeprefix(prefix)) for name in names if name.startswith(prefix)]
            if lengths:
                longest = max(lengths)
                medians = [median(runs.get(variant, []), f"{prefix}{longest}") for variant in VARIANTS]
                rows.append([task.replace("_", " "), cell, metric, str(longest), *medians])
                break
    return markdown(["task", "cell", "metric", "length", *VARIANTS], rows)


def median(results: Sequence[Result], metric: str) -> str:
    """Return the median of the runs that have a metric."""
    values = values_of(results, metric)
    return number(statistics.median(values)) if values else "not run"


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


def seconds(results: Iterable[Result]) -> str:
    """Return a table: the seconds of a warmup in parts of those of the training, over tasks, cells and seeds."""
    rows = []
    for variant in VARIANTS[1:]:
        parts = [
            result.metrics["seconds.warmup"] / result.metrics["seconds.fit"]
            for runs in by_task(results).values()
            for result in runs.get(variant, [])
            if result.metrics.get("seconds.fit")
        ]
        if parts:
            values = [f"{value:.2f}" for value in (statistics.median(parts), min(parts), max(parts))]
            rows.append([variant, str(len(parts)), *values])
    return markdown(["procedure", "runs", "median", "least", "most"], rows)


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
                curve = _returns(result)
                (handles[words],) = axes.plot(list(curve), list(curve.values()), **style(index), alpha=0.8)
        axes.set(xlabel="epochs of training", title=title)
        axes.grid(alpha=0.3)
    grid[0].set_ylabel("validation return")
    return save_with_legend(figure, handles, len(handles), output)


def _returns(result: Result) -> dict[float, float]:
    """Return the validation return after some numbers of epochs."""
    prefix = "curve.return."
    ends = {"last": result.metrics["epochs"]}
    names = [name.removeprefix(prefix) for name in result.metrics if name.startswith(prefix)]
    curve = {ends.get(name) or float(name): result.metrics[prefix + name] for name in names}
    return dict(sorted(curve.items()))
