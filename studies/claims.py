"""What finished runs say of the five claims of the paper's abstract (arXiv 2106.01001), as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from lightning_warmup.reporting.portraits import read_portrait_before_training
from studies.runs import Labels, Run, group, is_double, is_warmed
from studies.tables import OUTCOME, learnt_after, markdown, median, outcome, quality, spread

RISEN = 0.1
"""VAA from which a network counts as multistable: a tenth of the states have a place of their own."""


def at_initialisation(runs: Sequence[Run], labels: Labels) -> str:
    """Claim 1: the VAA of every cell and initialisation, before any stage."""
    single = [run for run in runs if not is_double(run) and run.figure("vaa.before") is not None]
    # Runs that differ in what follows start from the same network.
    distinct = {
        (labels.benchmark(r), r.settings["model.cell"], _init(r), r.report["seed"]): r for r in single
    }
    rows = []
    alone: list[str] = []
    several: list[str] = []
    for (benchmark, cell, init), members in group(
        distinct.values(), lambda r: (labels.benchmark(r), r.settings["model.cell"], _init(r))
    ).items():
        places, resting = ([_count(run, name) for run in members] for name in ("vaa", "resting_vaa"))
        at_one = sum(number is not None and number < 1.05 for number in places)
        rest = spread(run.figure("rest.before") for run in members)
        one = f"{at_one} of {len(members)}"
        rows.append([benchmark, cell, init, len(members), spread(places), spread(resting), rest, one])
        if init == "default":
            (alone if at_one == len(members) else several).append(f"{cell} ({benchmark})")
    if not rows:
        return _NONE
    header = ["benchmark", "cell", "initialisation", "runs", "places settled in", "of these at rest"]
    return _section(
        _sentences(
            ("With the default initialisation, all states settle in one place in every run of {}.", alone),
            ("The states settle in more than one place for {}.", several),
        ),
        _table([*header, "resting fraction", "runs with one place"], rows),
    )


def during_training(runs: Sequence[Run], labels: Labels) -> str:
    """Claim 2: whether multistability has risen by the time the task is learnt."""
    watched = [run for run in runs if run.monitored("vaa")]
    if not watched:
        return _NONE
    order = ("before", "same", "after", "only risen", "only learnt", "neither")
    rows = []
    totals = dict.fromkeys(order, 0)
    for (benchmark, cell, variant), members in group(watched, partial(_place, labels)).items():
        found = [_what_came_first(run) for run in members]
        counts = [sum(what == name for what in found) for name in order]
        for name, count in zip(order, counts, strict=True):
            totals[name] += count
        rows.append([benchmark, cell, variant, len(members), *counts])
    risen, unrisen = totals["before"] + totals["same"], totals["after"] + totals["only learnt"]
    header = ["benchmark", "cell", "setting", "runs", "VAA rose first", "in the same epoch", "learnt first"]
    return _section(
        f"Of {len(watched)} runs that were watched, {risen + unrisen} learnt: {risen} when or after the VAA "
        f"had risen to {RISEN}, {unrisen} without. The VAA rose without learning in {totals['only risen']}, "
        f"and neither came about in {totals['neither']}.",
        _table([*header, "rose, not learnt", "learnt, never rose", "neither"], rows),
    )


def with_warmup(runs: Sequence[Run], labels: Labels) -> str:
    """Claim 3: speed and final performance with and without a warmup, all else equal."""
    rows, better, sooner, pairs = [], 0, 0, 0
    for (benchmark, cell, rest), members in group(
        runs, lambda r: (labels.benchmark(r), r.settings["model.cell"], labels.rest(r))
    ).items():
        plain = [run for run in members if not is_warmed(run)]
        variants = group([run for run in members if is_warmed(run)], labels.variant)
        for variant, warmed in variants.items() if plain else ():
            pairs += 1
            better += quality(warmed) > quality(plain)
            sooner += learnt_after(warmed) < learnt_after(plain)
            for name, group_ in ((rest or "none", plain), (variant, warmed)):
                rows.append([benchmark, cell, name, *outcome(group_)])
    if not pairs:
        return _NONE
    return _section(
        f"In {better} of {pairs} comparisons the median of the final figure is better with the warmup than "
        f"without, and in {sooner} of {pairs} the task is learnt in fewer epochs (or at all).",
        _table(["benchmark", "cell", "setting", *OUTCOME], rows),
    )


def precision(runs: Sequence[Run], labels: Labels) -> str:
    """Claim 4: what a warmup costs where the task is learnt without, and what the double layer saves."""
    rows, costs, learns, kept, doubles = [], 0, 0, 0, 0
    started = [run for run in runs if labels.start(run) == "default"]
    for (benchmark, cell), members in group(started, partial(_where, labels)).items():
        variants = group(members, labels.variant)
        plain = variants.get("none", [])
        for variant, warmed in variants.items():
            double = variants.get(f"double layer, {variant}")
            if double is None or not is_warmed(warmed[0]):
                continue
            doubles += 1
            kept += quality(double) >= quality(warmed)
            if plain and learnt_after(plain) < math.inf:
                learns += 1
                costs += quality(warmed) < quality(plain)
            for name, group_ in (("none", plain), (variant, warmed), (f"double layer, {variant}", double)):
                rows += [[benchmark, cell, name, *outcome(group_)]] if group_ else []
    if not rows:
        return _NONE
    return _section(
        f"In {learns} of the {doubles} comparisons below the task is learnt without a warmup too; in {costs} "
        f"of these the warmup ends with a worse figure. The double layer with partial warmup ends with one as "
        f"good as that of the plain warmup or better in {kept} of {doubles}.",
        _table(["benchmark", "cell", "setting", *OUTCOME], rows),
    )


def other_procedures(runs: Sequence[Run], labels: Labels) -> str:
    """Claim 5: multistability after other initialisations and pretrainings, and what learning follows."""
    single = [run for run in runs if not is_double(run)]
    others = {_where(labels, run) for run in single if not is_warmed(run) and labels.start(run) != "default"}
    compared = [run for run in single if _where(labels, run) in others]
    rows = []
    more: list[str] = []
    not_more: list[str] = []
    baselines = {
        where: _multistability(members)[0]
        for where, members in group(
            [r for r in compared if labels.variant(r) == "none"], partial(_where, labels)
        ).items()
    }
    for (benchmark, cell, variant), members in group(compared, partial(_place, labels)).items():
        vaa, figures = _multistability(members)
        rows.append([benchmark, cell, variant, len(members), *figures, *outcome(members)[1:]])
        baseline = baselines.get((benchmark, cell))
        if variant != "none" and not is_warmed(members[0]) and vaa is not None and baseline is not None:
            (more if vaa > 1.5 * baseline else not_more).append(f"{variant} ({cell}, {benchmark})")
    if not rows:
        return _NONE
    return _section(
        _sentences(
            ("The VAA before training is at least half as large again as by default after {}.", more),
            ("It is not after {}.", not_more),
        ),
        "A VAA that falls with M is slow forgetting rather than multistability.",
        _table(["benchmark", "cell", "procedure", "runs", *_MULTISTABILITY, *OUTCOME[1:]], rows),
    )


CLAIMS: dict[str, Callable[[Sequence[Run], Labels], str]] = {
    "Most standard cells have a single stable equilibrium when they are initialised": at_initialisation,
    "Long dependencies are learnt once the number of reachable equilibria has risen": during_training,
    "Warmup, a few gradient steps, makes learning faster and its result better": with_warmup,
    "Warmup sometimes costs precision; a double layer of which one half is warmed keeps both": precision,
    "Other initialisations and pretrainings raise reachable multistability without aiming at it": other_procedures,
}
"""The claims, in our own words, and what tells about each."""

_NONE = "These runs hold no evidence for or against this claim."
_SHOWN_STEPS = (10, 100, 1000)
_MULTISTABILITY = (*(f"VAA, M={number}" for number in _SHOWN_STEPS), "VAA, full M", "resting fraction")


def _what_came_first(run: Run) -> str:
    """Whether the VAA rose before, in the same epoch as, or after the task was learnt, or what did not happen."""
    rise = next((epoch for epoch, value in run.monitored("vaa") if value >= RISEN), None)
    learnt = run.learnt_after
    if rise is None or learnt is None:
        return "neither" if rise is learnt else ("only risen" if learnt is None else "only learnt")
    return "before" if rise < learnt else ("same" if rise == learnt else "after")


def _multistability(runs: Sequence[Run]) -> tuple[float | None, list[str]]:
    """VAA before training after some numbers of constant steps and after all, and the resting fraction."""
    taken = [read_portrait_before_training(run.folder) for run in runs]
    there = [one for one in taken if one is not None]
    at = [
        spread(float(one.vaa[list(one.steps).index(number)]) for one in there if number in one.steps)
        for number in _SHOWN_STEPS
    ]
    whole = [float(one.vaa[-1]) for one in there]
    return median(whole), [*at, spread(whole), spread(float(one.resting_fraction[-1]) for one in there)]


def _section(*parts: str) -> str:
    return "\n\n".join(filter(None, parts))


def _table(header: Sequence[str], rows: Sequence[list[object]]) -> str:
    """A table whose rows are sorted by their first two entries, the benchmark and the cell."""
    return markdown(header, sorted(rows, key=lambda row: (str(row[0]), str(row[1]))))


def _count(run: Run, name: str) -> float | None:
    """Number of places of a VAA before training."""
    value = run.figure(f"{name}.before")
    return None if value is None else value * run.report["vaa_sequences"]


def _init(run: Run) -> str:
    return str(run.settings.get("model.init", "default"))


def _where(labels: Labels, run: Run) -> tuple[str, str]:
    return labels.benchmark(run), run.settings["model.cell"]


def _place(labels: Labels, run: Run) -> tuple[str, str, str]:
    return labels.benchmark(run), run.settings["model.cell"], labels.variant(run)


def _sentences(*patterns: tuple[str, Sequence[str]]) -> str:
    """Sentences on lists of names, those on empty lists left out."""
    return " ".join(pattern.format(", ".join(names)) for pattern, names in patterns if names)
