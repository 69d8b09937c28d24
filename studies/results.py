"""Results that last: a row of a CSV file for each finished run, with every number in its folder."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from configs.compose import CONFIG_FILE, compose, to_yaml
from configs.run_folder import REPORT
from configs.values import ConfigError
from lightning_warmup.runtime.files import Row, read_rows, write_rows
from studies.grid import as_arguments, flatten, parse

WHAT = ("study", "run", "settings", "seed", "commit", "dirty")
"""The first columns, which identify a run. All others are its metrics, under their dotted names."""
RISEN = 0.1
"""VAA from which a network counts as multistable: a tenth of the states end in different places."""
# These settings do not change what a run computes: they say where its files are, and what is shown of it.
_ELSEWHERE = ("run_dir=", "ckpt=", "ckpt_interval=", "seed=", "data.root=", "tracking.", "trainer.enable_")


def settings_in(config: str) -> str:
    """Return the settings of a configuration in YAML that differ from the defaults, as ``key=value`` words."""
    given = _flat(config)
    benchmark = next(text for text in given if text.startswith("data.name="))
    usual = {*defaults(benchmark)} - {benchmark}
    return shlex.join(text for text in given if text not in usual and not text.startswith(_ELSEWHERE))


@cache
def defaults(benchmark: str) -> tuple[str, ...]:
    """Return all settings of a benchmark, given as ``data.name=NAME``, at their defaults."""
    return tuple(_flat(to_yaml(compose([benchmark]))))


def _flat(config: str) -> list[str]:
    return as_arguments(parse(config))


def read_run(folder: Path, study: str | None = None) -> Row:
    """Return the row of a finished run from its folder; the study is by default its ``tracking.group``."""
    config = (folder / CONFIG_FILE).read_text()
    report, origin = _json(folder / REPORT), _json(folder / "provenance.json")
    changes = [change[3:] for change in origin.get("changes") or ()]
    group = next((text for text in _flat(config) if text.startswith("tracking.group=")), "=null")
    metrics = {
        name: value for name, value in flatten(report) if name != "seed" and type(value) in (int, float)
    }
    metrics |= _training(read_rows(folder / "metrics.csv"), report.get("trivial_loss"))
    metrics |= _portrait(folder / "portraits")
    return {
        "study": study or group.partition("=")[2].replace("null", ""),
        "run": folder.name,
        "settings": settings_in(config),
        "seed": str(report.get("seed", "")),
        "commit": str(origin.get("commit") or "")[:12],
        # Rows that earlier runs have added to a table are no change of the code.
        "dirty": str(any(not change.startswith("studies/results/") for change in changes)).lower(),
        **{name: f"{value:.6g}" for name, value in metrics.items()},
    }


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _training(rows: Sequence[Row], trivial: float | None) -> dict[str, float]:
    """Return curves after 0, 1, 2, 4, ... and all epochs, and the epochs until a run learnt and its VAA rose.

    A run has learnt when its validation loss is below half that of the best constant prediction, or when its policy
    is optimal or solves its environment.
    """
    curves = _curves(rows)
    solved = curves["optimal"] or curves["solved"]
    learnt = [at for at, share in solved.items() if share >= 1]
    if not solved and trivial is not None:
        learnt = [at for at, loss in curves["loss"].items() if loss < trivial / 2]
    risen = [at for at, vaa in curves["vaa"].items() if vaa >= RISEN]
    until = {"epochs_until_learnt": learnt, "epochs_until_risen": risen}
    metrics: dict[str, float] = {name: epochs[0] for name, epochs in until.items() if epochs}
    for name, curve in curves.items():
        powers_of_two = [at for at in curve if at & (at - 1) == 0]
        metrics |= {f"curve.{name}.{at}": curve[at] for at in powers_of_two}
        if curve:
            metrics[f"curve.{name}.last"] = curve[max(curve)]
    return metrics


def _curves(rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """Return each validation metric, and the monitored VAA, by the number of epochs trained."""
    curves: dict[str, dict[int, float]] = {}
    for name in ("loss", "accuracy", "return", "optimal", "solved"):
        curves[name] = {int(r["epoch"]) + 1: float(r[f"val/{name}"]) for r in rows if f"val/{name}" in r}
    ends = [(int(row["step"]), int(row["epoch"]) + 1) for row in rows if "epoch" in row]
    curves["vaa"] = {
        max((epoch for end, epoch in ends if end < int(row["step"])), default=0): float(value)
        for row in rows
        for name, value in row.items()
        if name.startswith("monitor_M") and name.endswith("/vaa")
    }
    return curves


def _portrait(folder: Path) -> dict[str, float]:
    """Return the VAA before training after some numbers of constant steps, and after all of them."""
    paths = [folder / f"{moment}.npz" for moment in ("warmup", "pretrain", "before")]
    for path in filter(Path.is_file, paths):
        with np.load(path) as content:
            vaa = dict(zip(content["steps"].tolist(), content["vaa"].tolist(), strict=True))
        at = {f"vaa_at.{steps}": vaa[steps] for steps in (10, 100, 1000) if steps in vaa}
        return at | {"vaa_at.full": vaa[max(vaa)]}
    return {}


def read_table(path: Path) -> list[Row]:
    """Return the rows of a file of results; none if it is missing.

    Raises:
        ConfigError: If it is another kind of file.
    """
    rows = read_rows(path)
    if not all(row.keys() >= {"settings", "seed"} for row in rows):
        raise ConfigError(f"{str(path)!r}: is no table of results: a row has no settings or no seed")
    return rows


def identity(row: Row) -> tuple[str, str]:
    """Return the settings and the seed; two rows with the same ones are the same run."""
    return row["settings"], row["seed"]


def add_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a file; they replace rows with the same settings and seed.

    The file is replaced as a whole, so it is complete at any moment. A second writer waits.

    Raises:
        ConfigError: If the file can't be written.
    """
    if not rows:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = {identity(row): row for row in [*read_table(path), *rows]}.values()
            write_rows(path, [*WHAT, *_metric_names(kept)], kept)
        finally:
            os.close(lock)
    except OSError as error:
        raise ConfigError(f"{str(path)!r}: can't be written: {error.strerror}") from None


def _metric_names(rows: Iterable[Row]) -> list[str]:
    """Return the names of all metrics in rows, sorted; numbers in dotted names are sorted as numbers."""

    def order(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (10**9, part) for part in name.split(".")]

    return sorted({name for row in rows for name in row} - {*WHAT}, key=order)
