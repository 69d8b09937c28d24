"""Tables of groups of runs that differ in the seed alone: median and full range, and pairs of equal seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from studies.groups import Group, Result

_GREATER_IS_BETTER = ("accuracy", "return", "optimal", "vaa", "rest")


def table(
    groups: Sequence[Group], names: Sequence[str], figures: Sequence[str], against: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table: a group's names, its number of runs, and some figures.

    With ``against``, the first figure is compared with that of the procedure so named, seed by seed.
    """
    header = [*map(_words, names), "runs", *map(_words, figures)]
    header += [f"{_words(figures[0])} better than {against}"] if against else []
    rows = []
    for one in groups:
        row = [*one.names, str(sum(result.runs for result in one.results))]
        row += [spread(one.results, figure) for figure in figures]
        if against:
            row.append(_better(one, _counterpart(one, groups, names, against), figures[0]))
        rows.append(row)
    return header, rows


def _words(name: str) -> str:
    return name.replace(".", " ").replace("_", " ")


def spread(results: Sequence[Result], figure: str) -> str:
    """Return median, range, and the number of runs with the figure if not all have it: ``2 (1 to 3), 3 of 5``."""
    there = [result for result in results if figure in result.figures]
    values = [result.figures[figure] for result in there]
    if not there:
        return ""
    middle = _number(statistics.median(values))
    if quartiles := there[0].spreads.get(figure):
        low, high = map(_number, quartiles)
        return middle if low == middle == high else f"{middle} [{low}, {high}]"
    low, high = _number(min(values)), _number(max(values))
    text = middle if low == high else f"{middle} ({low} to {high})"
    return text if len(there) == len(results) else f"{text}, {len(there)} of {len(results)}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _counterpart(one: Group, groups: Sequence[Group], names: Sequence[str], against: str) -> Group | None:
    """Return the group that differs in the procedure alone, None if it is the same or there is none."""
    at = list(names).index("procedure") if "procedure" in names else len(names) - 1
    if one.names[at] == against:
        return None
    key = (*one.names[:at], against, *one.names[at + 1 :])
    return next((other for other in groups if other.names == key), None)


def _better(one: Group, other: Group | None, figure: str) -> str:
    """Return in how many pairs of equal seeds a figure is better: ``4 of 5``."""
    if other is None:
        return ""
    sign = 1 if any(word in figure for word in _GREATER_IS_BETTER) else -1
    first, second = (
        {r["seed"]: sign * r.figures[figure] for r in g.results if figure in r.figures and r["seed"]}
        for g in (one, other)
    )
    pairs = [seed for seed in first if seed in second]
    return f"{sum(first[seed] > second[seed] for seed in pairs)} of {len(pairs)}" if pairs else ""


def studies_table(results: Iterable[Result]) -> str:
    """Return a table of the studies: runs, seeds, commits, and hours of computing."""
    studies: dict[str, list[Result]] = {}
    for result in results:
        studies.setdefault(result["study"] or "none", []).append(result)
    rows = []
    for study, members in studies.items():
        seconds = sum(
            v for r in members for k, v in r.figures.items() if k.startswith("seconds.") and not r.spreads
        )
        dirty = any(result.what.get("dirty") == "true" for result in members)
        commits = ", ".join(
            f"`{commit[:7]}`" for commit in dict.fromkeys(c for r in members for c in r["commit"].split())
        )
        seeds = sorted({int(result["seed"]) for result in members if result["seed"]})
        rows.append([
            study, str(sum(result.runs for result in members)), ", ".join(map(str, seeds)),
            commits + (", with changes" if dirty else ""), f"{seconds / 3600:.1f}" if seconds else "",
        ])  # fmt: skip
    return markdown(["study", "runs", "seeds", "commits", "hours"], rows)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; columns without any entry are left out."""
    rows = list(rows)
    there = [index for index in range(len(header)) if any(row[index] for row in rows)]
    lines = [[header[index] for index in there], ["---"] * len(there)]
    lines += [[row[index] for index in there] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
