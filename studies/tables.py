"""Tables of groups of runs that differ in the seed alone: median and full range."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from studies.groups import Group, Result


def table(
    groups: Sequence[Group], names: Sequence[str], figures: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table: a group's names, its number of runs, and some figures."""
    header = [in_words(name) for name in (*names, "runs", *figures)]
    rows = [
        [*one.names, str(sum(result.runs for result in one.results))]
        + [spread(one.results, figure) for figure in figures]
        for one in groups
    ]
    return header, rows


def in_words(name: str) -> str:
    """Return the name of a column or figure as it is read: ``test.loss`` as ``test loss``."""
    return name.replace(".", " ").replace("_", " ")


def spread(results: Sequence[Result], figure: str) -> str:
    """Return median, range, and the number of runs with the figure if not all have it: ``2 (1 to 3), 3 of 5``."""
    there = [result for result in results if figure in result.figures]
    if not there:
        return ""
    values = [result.figures[figure] for result in there]
    quartiles = there[0].spreads.get(figure)
    ends = quartiles or (min(values), max(values))
    low, middle, high = (
        f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        for value in (ends[0], statistics.median(values), ends[1])
    )
    if quartiles:
        return middle if low == middle == high else f"{middle} [{low}, {high}]"
    text = middle if low == high else f"{middle} ({low} to {high})"
    return text if len(there) == len(results) else f"{text}, {len(there)} of {len(results)}"


def studies_table(results: Iterable[Result]) -> str:
    """Return a table of the studies: runs, seeds, commits, and hours of computing."""
    studies: dict[str, list[Result]] = {}
    for result in results:
        studies.setdefault(result["study"] or "none", []).append(result)
    rows = []
    for study, members in studies.items():
        runs = [result for result in members if not result.spreads]
        seconds = sum(v for r in runs for k, v in r.figures.items() if k.startswith("seconds."))
        commits = ", ".join(dict.fromkeys(f"`{c[:7]}`" for r in members for c in r["commit"].split()))
        dirty = ", with changes" if any(result["dirty"] == "true" for result in runs) else ""
        seeds = sorted({int(result["seed"]) for result in members if result["seed"]})
        count = str(sum(result.runs for result in members))
        hours = f"{seconds / 3600:.1f}" if seconds else ""
        rows.append([study, count, ", ".join(map(str, seeds)), commits + dirty, hours])
    return markdown(["study", "runs", "seeds", "commits", "hours"], rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; columns without any entry are left out."""
    there = [at for at in range(len(header)) if any(row[at] for row in rows)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line[at] for at in there)} |" for line in lines)
