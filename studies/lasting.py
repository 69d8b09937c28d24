"""What finished runs say of warmups that end at rest, and of memory that outlasts the length of training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_warmup.procedures.objectives.rest import Rest
from studies.runs import Labels, Run, group, is_double, is_warmed
from studies.tables import OUTCOME, learnt_after, markdown, median, outcome, spread

LASTS = 2.0
"""Memory lasts if the task is learnt, and the loss at the greatest length is at most so many times that at T."""


def reached(runs: Sequence[Run], labels: Labels) -> str | None:
    """Where warmups for rest end, before any training; None if no run tells."""
    told = [run for run in runs if is_for_rest(run) and run.figure("rest.after") is not None]
    if not told:
        return None
    rows = []
    for place, members in _groups(told, labels).items():
        ended = sum(_ends_at_rest(run) for run in members)
        figures = ("resting_vaa.after", "rest.after", "seconds.warmup")
        spreads = [spread(run.figure(figure) for run in members) for figure in figures]
        steps = ", ".join(map(str, sorted({run.report["vaa_steps"] for run in members})))
        rows.append([*place, f"{ended} of {len(members)}", *spreads, steps])
    header = [
        "benchmark",
        "cell",
        "setting",
        "end at rest",
        "resting VAA",
        "resting fraction",
        "seconds",
        "M",
    ]
    return (
        f"{sum(map(_ends_at_rest, told))} of {len(told)} warmups for rest end at rest: with a resting VAA and a "
        f"resting fraction above {Rest.goal}.\n\n{markdown(header, rows)}"
    )


def lasting(runs: Sequence[Run], labels: Labels) -> str | None:
    """Figures at and beyond the length of training without a warmup, with the published one and with one for rest.

    Only of benchmarks on which there are runs with a warmup for rest; None if none of them was tested at further
    lengths.
    """
    with_rest = {labels.benchmark(run) for run in runs if is_for_rest(run)}
    compared = [run for run in runs if labels.benchmark(run) in with_rest]
    losses = [run for run in compared if run.report.get("test_at_length")]
    returns = [run for run in compared if run.report.get("return_at_length")]
    parts = []
    if losses:
        parts += [_how_many_last(losses, labels), _at_lengths(losses, labels, "loss", "test_at_length")]
    if returns:
        parts += ["Returns:", _at_lengths(returns, labels, "return", "return_at_length")]
    return "\n\n".join(parts) or None


def _how_many_last(runs: Sequence[Run], labels: Labels) -> str:
    """For how many settings with a warmup what was learnt lasts, in words."""
    lasts: dict[bool, list[bool]] = {True: [], False: []}  # by whether the warmup is for rest
    for members in _groups(runs, labels).values():
        if is_warmed(members[0]) and not is_double(members[0]):
            lasts[is_for_rest(members[0])].append(_lasts(members))
    rest, published = lasts[True], lasts[False]
    return (
        "What more than half of the runs have learnt lasts, with a median loss at the greatest length of at most "
        f"{LASTS:g} times that at the length of training, in {sum(rest)} of the {len(rest)} settings below with a "
        f"warmup for rest in single layers, and in {sum(published)} of {len(published)} with the published one."
    )


def _lasts(runs: Sequence[Run]) -> bool:
    greatest = max((length for run in runs for length in run.report["test_at_length"]), key=int)
    first, last = (median(run.figure(f) for run in runs) for f in ("test.loss", f"test_at_length.{greatest}"))
    learnt = math.isfinite(learnt_after(runs))
    return learnt and first is not None and last is not None and last <= LASTS * first


def _at_lengths(runs: Sequence[Run], labels: Labels, name: str, section: str) -> str:
    """A table of the test's figure of that name, and of those at further lengths in that section of the report."""
    lengths = sorted({int(length) for run in runs for length in run.report[section]})
    figures = ["seconds.warmup", f"test.{name}", *(f"{section}.{length}" for length in lengths)]
    rows = [
        [*place, *outcome(members)[2:4], *(spread(run.figure(f) for run in members) for f in figures)]
        for place, members in _groups(runs, labels).items()
    ]
    header = ["benchmark", "cell", "setting", *OUTCOME[2:4], "seconds of warmup", f"test {name}"]
    return markdown([*header, *(f"at length {length}" for length in lengths)], rows)


SECTIONS = {
    "Where a warmup for rest ends": reached,
    "Memory that outlasts the length of training": lasting,
}
"""Titles of sections of the page, and what tells about each."""


def is_for_rest(run: Run) -> bool:
    """Whether a run was warmed up for rest."""
    return is_warmed(run) and run.settings.get("warmup.objective") == "rest"


def _ends_at_rest(run: Run) -> bool:
    return all((run.figure(f"{name}.after") or 0) > Rest.goal for name in ("resting_vaa", "rest"))


def _groups(runs: Sequence[Run], labels: Labels) -> dict[tuple[str, str, str], list[Run]]:
    """Runs by benchmark, cell and setting, sorted by the first two."""
    groups = group(runs, lambda run: (labels.benchmark(run), run.settings["model.cell"], labels.variant(run)))
    return dict(sorted(groups.items(), key=lambda item: item[0][:2]))
