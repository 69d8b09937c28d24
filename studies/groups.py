"""Finished runs: read for a page, picked by their settings, and grouped by what they have in common."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.run_folder import REPORT
from configs.values import ConfigError
from lightning_warmup.runtime.files import Row, read_rows
from studies.results import WHAT, defaults, identity, read_run

_SIZES = (
    *("name", "train_size", "val_size", "test_size", "test_lengths", "batch_size"),
    *("capacity", "threshold", "episodes_per_epoch", "evaluation_episodes"),
)


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run."""

    what: Mapping[str, str]
    """Study, seed, commit, all settings, and in words ``benchmark``, ``cell`` and ``procedure``."""
    metrics: Mapping[str, float]

    def __getitem__(self, name: str) -> str:
        """Return the value of a column or setting."""
        if name not in self.what:
            raise ConfigError(f"{name}: no such column or setting of a run")
        return self.what[name]


Groups = dict[tuple[str, ...], list[Result]]
"""Runs that differ only in the seed, by what they have in common."""


def pick(results: Iterable[Result], /, **where: str | Collection[str]) -> list[Result]:
    """Return the results with the given value, or one of the given values, in each column or setting."""
    wanted = {name: {value} if isinstance(value, str) else {*value} for name, value in where.items()}
    return [r for r in results if all(r.what.get(name, "") in values for name, values in wanted.items())]


def group(results: Iterable[Result], names: Sequence[str]) -> Groups:
    """Group results by columns or settings.

    Runs of different settings never share a group: the group is split, and the last name says how its parts differ.
    """
    by_names: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in results:
        alike = by_names.setdefault(tuple(result[name] for name in names), {})
        alike.setdefault(result.what.get("settings", ""), []).append(result)
    groups: Groups = {}
    for key, by_settings in by_names.items():
        shared = set.intersection(*(set(shlex.split(settings)) for settings in by_settings))
        for settings, members in by_settings.items():
            own = [re.sub(r"^\w+\.", "", text) for text in shlex.split(settings) if text not in shared]
            groups[(*key[:-1], ", ".join([key[-1], *own]))] = members
    return groups


def read_results(sources: Iterable[Path]) -> list[Result]:
    """Read the runs in tables and in folders, at any depth; a run that is in both counts once.

    Raises:
        ConfigError: If a source is neither a folder nor a table of runs.
    """
    runs: list[Row] = []
    for source in sources:
        if source.is_dir():
            found = [read_run(path.parent) for path in sorted(source.rglob(REPORT))]
            runs += [row for row in found if any(name.startswith("test.") for name in row)]
        elif (rows := read_rows(source)) and "settings" in rows[0]:
            runs += rows
        else:
            raise ConfigError(f"{str(source)!r}: must be a folder or a table of runs")
    unique = {(row.get("study"), *identity(row)): row for row in runs}
    return [_result(row) for row in unique.values()]


def _result(row: Row) -> Result:
    differing = shlex.split(row["settings"])
    usual = defaults(next(text for text in differing if text.startswith("data.name=")))
    settings = dict(text.split("=", 1) for text in [*usual, *differing])
    data = [text.removeprefix("data.") for text in differing if text.startswith("data.")]
    # Folders are left out, and the names of environments and data sets need no key.
    own = [re.sub("=.*[/:]", "=", text) for text in data if not text.startswith(_SIZES)]
    own = [re.sub("^(env_id|test_root)=", "", text) for text in own]
    named = {
        "benchmark": ", ".join([settings["data.name"], *own]).replace("_", " "),
        "cell": settings["model.cell"].upper().replace("NBRC", "nBRC"),
        "procedure": _procedure(settings),
    }
    columns = {name: row.get(name, "") for name in WHAT}
    metrics = {name: float(value) for name, value in row.items() if name not in WHAT and value}
    return Result(settings | named | columns, metrics)


def _procedure(settings: Mapping[str, str]) -> str:
    """Describe in words how the network was prepared for the training."""
    objective, init, task = (settings[key] for key in ("warmup.objective", "model.init", "pretrain.task"))
    words = []
    if settings["warmup.enabled"] == "true":
        words.append("with warmup" + (f" for {objective}" if objective != "published" else ""))
    words += [f"{init} initialisation"] if init != "default" else []
    words += [f"{task} pretraining"] if task != "none" else []
    words = words or ["without warmup"]
    if settings["model.double"] == "true":
        words.append("memory at its side" if settings["model.silent"] == "true" else "double layer")
    words += ["proven"] if settings["proof.steps"] != "0" else []
    return ", ".join(words).replace("_", " ")
