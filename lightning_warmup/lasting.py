"""What finished runs say of warmups that end at rest, and of memory that outlasts the length of training."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_warmup.groups import markdown, median, spread
from lightning_warmup.runs import Labels, Run, group, is_double, is_warmed
from lightning_warmup.warmup import ENOUGH

LASTS = 2.0
"""Memory lasts if the loss at the greatest length is at most so many times that at the length of training."""


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
        f"resting fraction above {ENOUGH}.\n\n{markdown(header, rows)}"
    )


def lasting(runs: Sequence[Run], labels: Labels) -> str | None:
    """Figures at and beyond the length of training without a warmup, with the published one and with one for rest.

    Only of benchmarks on which there are runs with a warmup for rest; None if there is none.
    """
    with_rest = {labels.benchmark(run) for run in runs if is_for_rest(run)}
    compared = [run for run in runs if labels.benchmark(run) in with_rest]
    parts = [_losses(compared, labels), _at_lengths(compared, labels, "return")]
    return "\n\n".join(part for part in parts if part is not None) or None


def _losses(runs: Sequence[Run], labels: Labels) -> str | None:
    """For how many settings the loss lasts, and the table; None if no run tells."""
    table = _at_lengths(runs, labels, "loss")
    if table is None:
        return None
    lasts: dict[bool, list[bool]] = {True: [], False: []}  # by whether the warmup is for rest
    for members in _groups([run for run in runs if "test_at_length" in run.report], labels).values():
        first = median(run.figure("test.loss") for run in members)
        last = median(run.farthest and run.farthest[1] for run in members)
        if is_warmed(members[0]) and not is_double(members[0]) and first is not None and last is not None:
            lasts[is_for_rest(members[0])].append(last <= LASTS * first)
    rest, published = lasts[True], lasts[False]
    return (
        f"At the greatest length the median loss is at most {LASTS:g} times that at the length of training for "
        f"{sum(rest)} of the {len(rest)} settings below with a warmup for rest in single layers, and for "
        f"{sum(published)} of {len(published)} with the published one.\n\n{table}"
    )


def _at_lengths(runs: Sequence[Run], labels: Labels, name: str) -> str | None:
    """A table of the figure of that name at all lengths, by benchmark, cell and setting; None without any."""
    section = {"loss": "test_at_length"}.get(name, f"{name}_at_length")
    told = [run for run in runs if run.report.get(section)]
    if not told:
        return None
    lengths = sorted({int(length) for run in told for length in run.report[section]})
    figures = ["seconds.warmup", f"test.{name}", *(f"{section}.{length}" for length in lengths)]
    rows = []
    for place, members in _groups(told, labels).items():
        epochs = spread(run.learnt_after for run in members)
        learnt = f"{sum(run.learnt_after is not None for run in members)} of {len(members)}"
        rows.append([*place, learnt, epochs, *(spread(run.figure(f) for run in members) for f in figures)])
    header = [
        "benchmark",
        "cell",
        "setting",
        "learnt",
        "epochs until learnt",
        "seconds of warmup",
        f"test {name}",
    ]
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
    return all((run.figure(f"{name}.after") or 0) > ENOUGH for name in ("resting_vaa", "rest"))


def _groups(runs: Sequence[Run], labels: Labels) -> dict[tuple[str, str, str], list[Run]]:
    """Runs by benchmark, cell and setting, sorted by the first two."""
    groups = group(runs, lambda run: (labels.benchmark(run), run.settings["model.cell"], labels.variant(run)))
    return dict(sorted(groups.items(), key=lambda item: item[0][:2]))
