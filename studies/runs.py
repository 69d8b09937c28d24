"""Finished runs, read from their folders and compared by what they differ in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

# Settings that leave a run what it is; those that end with a dot or an underscore stand for all that begin so.
_IGNORED = (
    "seed", "stages", "ckpt_interval", "tracking.", "data.root", "data.test_lengths", "trainer.accelerator",
    "trainer.devices", "trainer.strategy", "trainer.num_nodes", "trainer.enable_", "trainer.log_every_n_steps",
    "trainer.profiler",
)  # fmt: skip
# Settings that a label puts in words.
_WORDED = ("model.cell", "model.double", "model.init", "pretrain.task", "warmup.enabled")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        folder: Its folder.
        settings: Its configuration, by dotted key.
        report: Content of its ``report.json``.
        provenance: Content of its ``provenance.json``, empty if there is none.
    """

    folder: Path
    settings: dict[str, Any]
    report: dict[str, Any]
    provenance: dict[str, Any]

    @cached_property
    def metrics(self) -> list[dict[str, str]]:
        """The rows of ``metrics.csv``, each without its empty fields."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return []
        with path.open(newline="") as file:
            return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]

    def figure(self, name: str) -> float | None:
        """A figure of the report by its dotted name, such as ``vaa.before``; None if there is none."""
        value: Any = self.report
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return None if value is None else float(value)

    def by_epoch(self, name: str) -> list[float]:
        """Values of a validation metric, one for each epoch, from the first on."""
        return [float(row[name]) for row in self.metrics if name in row]

    def monitored(self, name: str) -> list[tuple[int, float]]:
        """Values of a figure of the monitor, such as ``vaa``, each with the epochs done before it."""
        ends = [int(row["step"]) for row in self.metrics if "val/loss" in row or "val/return" in row]
        return [
            (sum(end < int(row["step"]) for end in ends), float(value))
            for row in self.metrics
            for key, value in row.items()
            if key.startswith("monitor_M") and key.endswith(f"/{name}")
        ]

    @property
    def score(self) -> tuple[str, float]:
        """The figure that the benchmark is judged by: test accuracy, loss or return."""
        name = next(name for name in ("accuracy", "loss", "return") if name in self.report["test"])
        return f"test {name}", float(self.report["test"][name])

    @property
    def farthest(self) -> tuple[str, float] | None:
        """The figure at the greatest length of the test, its name first; None if there is one length alone."""
        for section, name in (("test_at_length", "test loss"), ("optimal_at_length", "optimal")):
            if figures := self.report.get(section):
                length = max(figures, key=int)
                return f"{name} at {length}", float(figures[length])
        return None

    @property
    def learnt_after(self) -> int | None:
        """Epochs until the task was learnt, None if it never was.

        Learnt is a validation loss below half of that of the best constant prediction; in the T-Maze, an optimal
        policy.
        """
        trivial = self.report.get("trivial_loss")
        optimal = [value >= 1 for value in self.by_epoch("val/optimal")]
        learnt = [trivial is not None and loss < trivial / 2 for loss in self.by_epoch("val/loss")]
        return next((epoch for epoch, is_so in enumerate(optimal or learnt, start=1) if is_so), None)


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """The finished runs in some folders, at any depth: those with a ``report.json`` of a test."""
    paths = {path.parent for folder in folders for path in folder.rglob("report.json")}
    runs = [_read(path) for path in sorted(paths)]
    return [run for run in runs if run.report.get("test")]


def _read(folder: Path) -> Run:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    provenance = folder / "provenance.json"
    return Run(
        folder,
        _in_use(_flat(config)),
        json.loads((folder / "report.json").read_text()),
        json.loads(provenance.read_text()) if provenance.is_file() else {},
    )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _in_use(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those of a stage that is off."""
    off = [] if settings.get("warmup.enabled") else ["warmup."]
    off += ["pretrain."] if settings.get("pretrain.task", "none") == "none" else []
    return {key: value for key, value in settings.items() if key in _WORDED or not key.startswith(tuple(off))}


def differing(runs: Sequence[Run]) -> list[str]:
    """Keys of the settings that runs differ in, apart from the seed and what leaves a run what it is."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: {repr(run.settings[key]) for run in runs if key in run.settings} for key in keys}
    return [key for key in keys if len(values[key]) > 1 and not key.startswith(_IGNORED)]


def _telling(keys: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Those of some keys that tell runs apart which the keys before them don't, those of the warmup last."""
    telling: list[str] = []
    kinds = 1
    for key in sorted(keys, key=lambda key: key.startswith("warmup.")):
        told = len({tuple(repr(run.settings.get(name)) for name in (*telling, key)) for run in runs})
        if told > kinds:
            telling.append(key)
            kinds = told
    return telling


class Labels:
    """Names for runs by what they differ in: the benchmark, and the rest of the settings.

    A setting that goes with another one is left out: the length of a stabilisation that differs with the objective.

    Args:
        runs: All the runs.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        by_name = group(runs, lambda run: run.settings["data.name"])
        self._data = {
            name: [key for key in differing(members) if key.startswith("data.")]
            for name, members in by_name.items()
        }
        self._others = {
            benchmark: _telling([key for key in differing(members) if key not in _WORDED], members)
            for benchmark, members in group(runs, self.benchmark).items()
        }

    def benchmark(self, run: Run) -> str:
        """The benchmark, and the settings of its data that differ."""
        name = run.settings["data.name"]
        return ", ".join([name, *self._pairs(run, self._data[name])])

    def start(self, run: Run) -> str:
        """What the training starts from apart from a warmup: the initialisation or pretraining, or neither."""
        init, task = run.settings.get("model.init", "default"), run.settings.get("pretrain.task", "none")
        words = [*([init] if init != "default" else []), *([task] if task != "none" else [])]
        return ", ".join(words) or "default"

    def rest(self, run: Run) -> str:
        """All that differs apart from the benchmark, the cell and the warmup."""
        start = self.start(run)
        words = [*(["double layer"] if is_double(run) else []), *([start] if start != "default" else [])]
        others = [key for key in self._others[self.benchmark(run)] if not key.startswith("warmup.")]
        return ", ".join([*words, *self._pairs(run, others)])

    def variant(self, run: Run) -> str:
        """All that differs apart from the benchmark and the cell."""
        warmup = [key for key in self._others[self.benchmark(run)] if key.startswith("warmup.")]
        words = [self.rest(run), *(["warmup"] if is_warmed(run) else []), *self._pairs(run, warmup)]
        return ", ".join(filter(None, words)) or "none"

    def _pairs(self, run: Run, keys: Iterable[str]) -> list[str]:
        return [f"{key.rpartition('.')[2]}={run.settings[key]}" for key in keys if key in run.settings]


def is_double(run: Run) -> bool:
    """Whether the network is made of double layers."""
    return bool(run.settings.get("model.double"))


def is_warmed(run: Run) -> bool:
    """Whether the network was warmed up."""
    return bool(run.settings.get("warmup.enabled"))


def group(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """Runs by a key, in the order in which the keys come."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups
