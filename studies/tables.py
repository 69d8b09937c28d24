"""Tables of groups of runs that differ only in the seed: medians, ranges, counts and their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from configs.values import ConfigError
from lightning_warmup.reporting.rows import markdown
from studies.groups import Groups, Result, group
from studies.statistics import paired_interval, probability_of_improvement, share_interval

LEARNT = "epochs_until_learnt"
"""The metric that only runs that learnt have."""
_GREATER_IS_BETTER = ("accuracy", "return", "optimal", "solved")


def in_words(name: str) -> str:
    """Return the name of a metric in words: ``test.loss`` as ``test loss``."""
    return {"val.solved_at": "episodes until solved"}.get(name, name.replace(".", " ").replace("_", " "))


def sign(metric: str) -> int:
    """Return 1 for a metric whose greater values are better, else -1."""
    return 1 if metric.split(".")[-1] in _GREATER_IS_BETTER else -1


def goodness(result: Result, metric: str) -> float:
    """Return a metric with its sign, greater is better; a run without it never got there, and is the worst."""
    return sign(metric) * result.metrics[metric] if metric in result.metrics else -math.inf


def values_of(results: Sequence[Result], metric: str) -> list[float]:
    """Return a metric of the runs that have it."""
    return [result.metrics[metric] for result in results if metric in result.metrics]


def number(value: float) -> str:
    """Return a number in three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def spread(results: Sequence[Result], metric: str) -> str:
    """Return the median and the range, and how many runs have the metric if not all do: ``2 (1 to 3), 3 of 5``."""
    values = values_of(results, metric)
    if not values:
        return ""
    low, middle, high = map(number, (min(values), statistics.median(values), max(values)))
    text = middle if low == high else f"{middle} ({low} to {high})"
    return text if len(values) == len(results) else f"{text}, {len(values)} of {len(results)}"


def share(results: Sequence[Result], metric: str = LEARNT) -> str:
    """Return how many runs have a metric, by default how many learnt: ``4 of 5 [0.28, 0.99]``."""
    if not results:
        return ""
    having = sum(metric in result.metrics for result in results)
    return count_of(having, len(results))


def count_of(having: int, total: int) -> str:
    """Return a count with the interval of its share: ``4 of 5 [0.28, 0.99]``."""
    low, high = share_interval(having, total)
    return f"{having} of {total} [{low:.2f}, {high:.2f}]"


def table(groups: Groups, names: Sequence[str], metrics: Mapping[str, str]) -> str:
    """Return a table with a row for each group: its names, its number of runs, and metrics by their headings."""
    rows = [
        [*key, str(len(members)), *(spread(members, metric) for metric in metrics.values())]
        for key, members in groups.items()
    ]
    return markdown([*names, "runs", *metrics], rows)


def by_procedure(
    results: Iterable[Result], names: Sequence[str]
) -> dict[tuple[str, ...], dict[str, list[Result]]]:
    """Group results by columns or settings, and each group by procedure.

    Raises:
        ConfigError: If runs of one procedure differ in their settings.
    """
    rows: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for key, members in group(results, [*names, "procedure"]).items():
        if key[-1] != members[0]["procedure"]:
            raise ConfigError(f"{', '.join(key)}: runs of one procedure differ, so pick by a setting")
        rows.setdefault(key[:-1], {})[key[-1]] = members
    return rows


def first_metric(runs: Mapping[str, Sequence[Result]], metrics: Sequence[str]) -> str:
    """Return the first of some metrics that any run has."""
    there = {name for results in runs.values() for result in results for name in result.metrics}
    return next((metric for metric in metrics if metric in there), metrics[-1])


def comparison(
    results: Sequence[Result], names: Sequence[str], procedures: Sequence[str], metrics: Sequence[str]
) -> str:
    """Return a table of procedures side by side; the last is compared with the one before it.

    A row shows the first of ``metrics`` that its runs have. Groups with a single procedure are left out.
    """
    header = [*names, "metric", *procedures, "change", "P(better)"]
    rows = []
    for key, runs in by_procedure(results, names).items():
        columns = [runs.get(procedure, []) for procedure in procedures]
        if sum(map(bool, columns)) > 1:
            metric = first_metric(runs, metrics)
            spreads = [spread(members, metric) or ("never" if members else "") for members in columns]
            rows.append([*key, in_words(metric), *spreads, *change(columns[-1], columns[-2], metric)])
    return markdown(header, rows)


def change(ours: Sequence[Result], theirs: Sequence[Result], metric: str) -> tuple[str, str]:
    """Return the mean change over pairs of equal seeds with its interval, and the probability of improvement.

    The change is a factor if less is better and no run is at 0, and otherwise a difference.
    """
    if not ours or not theirs:
        return "", ""
    first, second = (
        {result["seed"]: goodness(result, metric) for result in results} for results in (ours, theirs)
    )
    better = probability_of_improvement(list(first.values()), list(second.values()))
    pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    factors = sign(metric) < 0 and all(max(pair) < 0 for pair in pairs)
    if factors:
        differences = [math.log(-a) - math.log(-b) for a, b in pairs]
    else:
        differences = [sign(metric) * (a - b) for a, b in pairs]
    interval = paired_interval(differences)
    if interval is None:
        return "", f"{better:.2f}"
    mean, low, high = (
        f"x {number(math.exp(value))}" if factors else f"{value:+.3g}"
        for value in (statistics.fmean(differences), *interval)
    )
    return f"{mean} [{low.removeprefix('x ')}, {high.removeprefix('x ')}]", f"{better:.2f}"


def counts(results: Sequence[Result], names: Sequence[str], procedures: Sequence[str]) -> str:
    """Return a table of how many runs learnt, with a column for each procedure."""
    rows = [
        [*key, *(share(runs.get(procedure, [])) for procedure in procedures)]
        for key, runs in by_procedure(results, names).items()
    ]
    return markdown([*names, *procedures], rows)


def studies_table(results: Iterable[Result]) -> str:
    """Return a table of the studies: their runs, seeds, commits, and hours of computing."""
    studies: dict[str, list[Result]] = {}
    for result in results:
        studies.setdefault(result["study"] or "none", []).append(result)
    rows = []
    for study, runs in studies.items():
        seconds = sum(v for r in runs for k, v in r.metrics.items() if k.startswith("seconds."))
        commits = ", ".join(dict.fromkeys(f"`{run['commit'][:7]}`" for run in runs if run["commit"]))
        dirty = ", with changes" if any(run["dirty"] == "true" for run in runs) else ""
        seeds = ", ".join(sorted({run["seed"] for run in runs}, key=lambda seed: (len(seed), seed)))
        rows.append([study, str(len(runs)), seeds, commits + dirty, f"{seconds / 3600:.1f}"])
    return markdown(["study", "runs", "seeds", "commits", "hours"], rows)
