"""Finished runs read for a page, picked by what they are and grouped by what they have in common."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from configs.compose import ConfigError
from studies.results import REPORT, WHAT, Row, defaults, identity, read_rows, read_run

_SIZES = ("train_size", "val_size", "test_size", "test_lengths", "batch_size")


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run, or a group of earlier ones of which the statistics alone are left."""

    what: Mapping[str, str]
    """Study, settings, seed, commit."""
    figures: Mapping[str, float]
    """Its figures; of a group, the medians."""
    spreads: Mapping[str, tuple[float, float]]
    """Quartiles of the figures of a group."""
    runs: int = 1
    """Number of runs it stands for."""

    @property
    def differing(self) -> list[str]:
        """The settings that differ from the defaults, ``key=value``."""
        return shlex.split(self.what.get("settings", ""))

    @cached_property
    def settings(self) -> dict[str, str]:
        """All settings, by their dotted keys."""
        benchmark = [text for text in self.differing if text.startswith("data.name=")]
        usual = defaults(benchmark[0]) if benchmark else ()
        return dict(text.split("=", 1) for text in [*usual, *self.differing])

    def __getitem__(self, name: str) -> str:
        """Return what the run is by the name of a column or setting, ``benchmark``, ``cell`` or ``procedure``."""
        if name in self.what:
            return self.what[name]
        named = {"benchmark": self._benchmark, "cell": self._cell, "procedure": self._procedure}
        if name in named:
            return named[name]()
        if name not in self.settings:
            raise ConfigError(f"{name}: no such column or setting of a run")
        return self.settings[name]

    def _benchmark(self) -> str:
        """Return the benchmark in words, with what differs in its data beside the sizes."""
        data = [text.removeprefix("data.") for text in self.differing if text.startswith("data.")]
        others = [text for text in data if not text.startswith(("name=", *_SIZES))]
        return ", ".join([self.settings["data.name"], *others]).replace("_", " ")

    def _cell(self) -> str:
        return self.settings["model.cell"].upper().replace("NBRC", "nBRC")

    def _procedure(self) -> str:
        """Return in words what came before the training."""
        warmed, objective = self.settings["warmup.enabled"] == "true", self.settings["warmup.objective"]
        double, init, task = (self.settings[key] for key in ("model.double", "model.init", "pretrain.task"))
        words = ["with warmup" + (f" for {objective}" if objective != "published" else "")] if warmed else []
        words += [f"{init.replace('_', ' ')} initialisation"] if init != "default" else []
        words += [f"{task.replace('_', ' ')} pretraining"] if task != "none" else []
        words = words or ["without warmup"]
        return ", ".join(words + (["double layer"] if double == "true" else []))


@dataclass(frozen=True, eq=False)
class Group:
    """Results that differ in the seed alone, and what they have in common, in the order that was asked for."""

    names: tuple[str, ...]
    results: list[Result]


def words_of(names: Iterable[str]) -> str:
    """Return names as one phrase: ``GRU, with warmup``."""
    return ", ".join(filter(None, names))


def pick(results: Iterable[Result], where: Mapping[str, str]) -> list[Result]:
    """Return the results that are as they are asked for: a value, or one of several separated by ``|``."""
    for name, values in where.items():
        results = [r for r in results if (r.what.get(name) or _or_empty(r, name)) in values.split("|")]
    return list(results)


def _or_empty(result: Result, name: str) -> str:
    try:
        return result[name]
    except ConfigError:
        return ""  # a setting of another benchmark


def group(results: Iterable[Result], names: Sequence[str]) -> list[Group]:
    """Group results by what they are; where settings differ in a group it is split, and the last name says how."""
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in results:
        key = tuple(result[name] for name in names)
        groups.setdefault(key, {}).setdefault(result.what.get("settings", ""), []).append(result)
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
    figures = {name: float(value) for name, value in row.items() if name not in WHAT and value}
    return Result({name: row.get(name, "") for name in WHAT}, figures, {})


def _earlier(rows: Sequence[Row]) -> list[Result]:
    """Return the groups of a table with one row for each figure of a group."""
    what = ("study", "benchmark", "cell", "procedure", "runs", "commit")
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in what), []).append(row)
    return [
        Result(
            {**dict(zip(what, key, strict=True)), "seed": ""},
            {row["figure"]: float(row["median"]) for row in members},
            {row["figure"]: (float(row["lower"]), float(row["upper"])) for row in members},
            int(members[0]["runs"]),
        )
        for key, members in groups.items()
    ]
