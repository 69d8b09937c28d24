"""Procedures side by side: one row or panel for each benchmark and cell, and pairs of runs of equal seeds."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from configs.compose import ConfigError
from lightning_warmup.reporting.figures import GREY, style
from studies.figures import panel_grid, save_with_legend
from studies.groups import Group, Result
from studies.tables import in_words, spread

_GREATER_IS_BETTER = ("accuracy", "return", "optimal")


class Compared(NamedTuple):
    """What several procedures reach at one task, in one figure."""

    names: tuple[str, ...]
    figure: str
    by_procedure: dict[str, list[Result]]


def compare(groups: Sequence[Group], figures: Sequence[str], procedures: Sequence[str]) -> list[Compared]:
    """Bring together groups that differ in their last name alone, the procedure.

    The figure of a row is the first of ``figures`` that any of its runs has. Rows of one benchmark stay together;
    those with runs of one procedure alone, where several are asked for, are left out.

    Raises:
        ConfigError: If runs of one procedure differ in their settings.
    """
    rows: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for names, results in groups:
        if names[-1] not in procedures:
            raise ConfigError(f"{', '.join(names)}: runs of one procedure differ, so pick by a setting")
        rows.setdefault(names[:-1], {})[names[-1]] = results
    compared = []
    for names, by_procedure in rows.items():
        if len(by_procedure) == 1 < len(procedures):
            continue
        there = {name for results in by_procedure.values() for result in results for name in result.figures}
        figure = next((figure for figure in figures if figure in there), figures[-1])
        compared.append(Compared(names, figure, by_procedure))
    firsts = [names[:1] for names in rows]
    return sorted(compared, key=lambda row: firsts.index(row.names[:1]))


def comparison(
    compared: Sequence[Compared], names: Sequence[str], procedures: Sequence[str], against: str
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table, procedures in columns.

    The last column says in how many pairs of equal seeds the last procedure is better than ``against``.
    """
    header = [*map(in_words, names), "measure", "runs", *procedures, f"last better than {against}"]
    rows = []
    for row in compared:
        columns = [row.by_procedure.get(procedure, []) for procedure in procedures]
        runs = sum(result.runs for results in columns for result in results)
        spreads = [_spread(results, row.figure) for results in columns]
        better = _better(columns[-1], row.by_procedure.get(against, []), row.figure)
        rows.append([*row.names, in_words(row.figure), str(runs), *spreads, better])
    return header, rows


def _spread(results: Sequence[Result], figure: str) -> str:
    """Return median and range; ``-`` if there are runs and none has the figure, as where nothing was learnt."""
    return spread(results, figure) or "-" * bool(results)


def _better(ours: Sequence[Result], theirs: Sequence[Result], figure: str) -> str:
    """Return in how many pairs a figure is better, ``4 of 5``; what never came, such as learning, is the worst."""
    sign = 1 if any(word in figure for word in _GREATER_IS_BETTER) else -1
    first, second = (
        {r["seed"]: sign * r.figures.get(figure, -sign * math.inf) for r in results if r["seed"]}
        for results in (ours, theirs)
    )
    pairs = first.keys() & second.keys()
    return f"{sum(first[seed] > second[seed] for seed in pairs)} of {len(pairs)}" if pairs else ""


def draw_comparison(compared: Sequence[Compared], procedures: Sequence[str], output: Path) -> Path | None:
    """Draw every run as a point above its procedure, runs of one seed joined, a panel for each task.

    Return the file, None if nothing but groups of earlier runs is left.
    """
    compared = [row for row in compared if any(r["seed"] for rs in row.by_procedure.values() for r in rs)]
    if not compared:
        return None
    figure, grid = panel_grid(len(compared), min(len(compared), 4), (0.5, 0.5), (2.5, 2.4))
    for axes, (names, name, by_procedure) in zip(grid, compared, strict=True):
        seeds: dict[str, dict[int, float]] = {}
        for at, procedure in enumerate(procedures):
            for result in by_procedure.get(procedure, []):
                if name in result.figures and result["seed"]:
                    seeds.setdefault(result["seed"], {})[at] = result.figures[name]
        for points in seeds.values():
            axes.plot(list(points), list(points.values()), color=GREY, linewidth=0.8, zorder=1)
            for at, value in points.items():
                axes.plot(at, value, label=procedures[at], **{**style(at), "linestyle": "none"})
        axes.set(xlim=(-0.5, len(procedures) - 0.5), xticks=[], ylabel=in_words(name))
        axes.set_title("\n".join(textwrap.fill(each, 26) for each in names), fontsize="small")
        axes.set_yscale("log" if "loss" in name else "linear")
        axes.grid(alpha=0.3, axis="y")
    handles = {
        label: handle
        for axes in grid
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    shown = {procedure: handles[procedure] for procedure in procedures if procedure in handles}
    return save_with_legend(figure, shown, len(shown), output)
