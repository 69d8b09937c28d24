"""Finished runs read for a page, picked by what they are and grouped by what they have in common."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from configs.compose import ConfigError
from studies.results import REPORT, WHAT, Row, defaults, identity, read_rows, read_run

_SIZES = (
    *("name", "train_size", "val_size", "test_size", "test_lengths", "batch_size"),
    *("capacity", "threshold", "episodes_per_epoch", "evaluation_episodes"),
)


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run, or a group of earlier ones of which medians and quartiles alone are left."""

    what: Mapping[str, str]
    """Study, seed, commit; all settings; and in words ``benchmark``, ``cell`` and ``procedure``."""
    figures: dict[str, float]
    spreads: dict[str, tuple[float, float]]
    runs: int = 1

    @property
    def differing(self) -> list[str]:
        """The settings that differ from the defaults, ``key=value``."""
        return shlex.split(self.what.get("settings", ""))

    def __getitem__(self, name: str) -> str:
        """Return what the run is, by the name of a column or setting."""
        if name not in self.what:
            raise ConfigError(f"{name}: no such column or setting of a run")
        return self.what[name]


class Group(NamedTuple):
    """Results that differ in the seed alone, and what they have in common, in the order that was asked for."""

    names: tuple[str, ...]
    results: list[Result]


def pick(results: Iterable[Result], where: Mapping[str, str]) -> list[Result]:
    """Return the results that are as they are asked for: a value, or one of several separated by ``|``."""
    return [r for r in results if all(r.what.get(name, "") in where[name].split("|") for name in where)]


def group(results: Iterable[Result], names: Sequence[str]) -> list[Group]:
    """Group results by what they are; where settings differ in a group it is split, and the last name says how."""
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in results:
        alike = groups.setdefault(tuple(result[name] for name in names), {})
        alike.setdefault(result.what.get("settings", ""), []).append(result)
    split = []
    for key, by_settings in groups.items():
        shared = set.intersection(*(set(members[0].differing) for members in by_settings.values()))
        for members in by_settings.values():
            own = [text.partition(".")[2] for text in members[0].differing if text not in shared]
            split.append(Group((*key[:-1], ", ".join([key[-1], *own])), members))
    return split


def read_results(sources: Iterable[Path]) -> list[Result]:
    """Read the runs of tables and of folders, at any depth.

    Raises:
        ConfigError: If a source is neither a folder nor a table.
    """
    earlier: list[Row] = []
    runs: list[Row] = []
    for source in sources:
        if source.is_dir():
            found = [read_run(path.parent) for path in sorted(source.rglob(REPORT))]
            runs += [row for row in found if any(name.startswith("test.") for name in row)]
        elif (rows := read_rows(source)) and {"settings", "median"} & set(rows[0]):
            (earlier if "median" in rows[0] else runs).extend(rows)
        else:
            raise ConfigError(f"{str(source)!r}: must be a folder or a table of runs")
    # A run that is in a table and in a folder counts once.
    unique = {(row.get("study"), *identity(row)): row for row in runs}
    return [*map(_result, unique.values()), *_earlier(earlier)]


def _result(row: Row) -> Result:
    differing = shlex.split(row["settings"])
    usual = defaults(next(text for text in differing if text.startswith("data.name=")))
    settings = dict(text.split("=", 1) for text in [*usual, *differing])
    data = [text.removeprefix("data.") for text in differing if text.startswith("data.")]
    own = [re.sub("=.*[/:]", "=", text) for text in data if not text.startswith(_SIZES)]  # no folders
    named = {
        "benchmark": ", ".join([settings["data.name"], *own]).replace("_", " "),
        "cell": settings["model.cell"].upper().replace("NBRC", "nBRC"),
        "procedure": _procedure(settings),
    }
    columns = {name: row.get(name, "") for name in WHAT}
    figures = {name: float(value) for name, value in row.items() if name not in WHAT and value}
    return Result(settings | named | columns, figures, {})


def _procedure(settings: Mapping[str, str]) -> str:
    """Return in words what came before the training."""
    objective, init, task = (settings[key] for key in ("warmup.objective", "model.init", "pretrain.task"))
    words = []
    if settings["warmup.enabled"] == "true":
        words.append("with warmup" + (f" for {objective}" if objective != "published" else ""))
    words += [f"{init} initialisation"] if init != "default" else []
    words += [f"{task} pretraining"] if task != "none" else []
    words = words or ["without warmup"]
    words += ["double layer"] if settings["model.double"] == "true" else []
    words += ["consolidated"] if settings["agent.consolidate"] != "0" else []
    return ", ".join(words).replace("_", " ")


def _earlier(rows: Iterable[Row]) -> list[Result]:
    """Return the groups of a table with one row for each figure of a group."""
    what = ("study", "benchmark", "cell", "procedure", "runs", "commit")
    groups: dict[tuple[str, ...], Result] = {}
    for row in rows:
        named = {name: row[name] for name in what} | {"seed": ""}
        result = groups.setdefault(tuple(named.values()), Result(named, {}, {}, int(row["runs"])))
        result.figures[row["figure"]] = float(row["median"])
        result.spreads[row["figure"]] = (float(row["lower"]), float(row["upper"]))
    return list(groups.values())
