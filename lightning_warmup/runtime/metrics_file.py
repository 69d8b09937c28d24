"""The log ``metrics.csv`` of a run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_warmup.runtime.checkpoints import read_checkpoint
from lightning_warmup.runtime.files import replacing

ROWS_IN_MEMORY = 20
"""A kill loses fewer rows than this."""


class MetricsFile(Logger):
    """A CSV file with a row for each call of ``log_metrics`` and a column for each name, sorted.

    Only the first process writes. A kill leaves whole rows, but for the last one.

    Args:
        path: The file; an earlier one is replaced.
        rows: The rows that it starts with.
    """

    name = "csv"
    version = None

    def __init__(self, path: Path, rows: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self._rows = list(rows)
        if rows:
            self.save()
        else:
            rank_zero_only(path.unlink)(missing_ok=True)

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        row = {name: x.item() if isinstance(x, Tensor) else x for name, x in metrics.items()}
        self._rows.append(row | {"step": step})
        if len(self._rows) >= ROWS_IN_MEMORY:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        if not self._rows:
            return
        columns = sorted(set(self._columns).union(*self._rows))
        if columns == self._columns:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerows(self._rows)
        else:
            rows = [*(read_rows(self.path) if self._columns else []), *self._rows]
            with replacing(self.path) as partial, partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
            self._columns = columns
        self._rows = []

    def finalize(self, status: str) -> None:
        self.save()


def resumed_metrics_file(folder: Path, checkpoint: Path | None, training: bool) -> MetricsFile:
    """Open ``metrics.csv`` of a run, with the rows that the run will not log again.

    Args:
        folder: The run folder.
        checkpoint: The checkpoint that the run resumes from; None starts a new file.
        training: Whether the run trains on: the rows up to the checkpoint stay. Otherwise all rows stay but those
            of an earlier test.
    """
    path = folder / "metrics.csv"
    if checkpoint is None or not path.is_file():
        return MetricsFile(path)
    step = read_checkpoint(checkpoint)["global_step"] if training else None
    return MetricsFile(path, [row for row in read_rows(path) if _stays(row, step)])


def read_rows(path: Path) -> list[dict[str, str | None]]:
    """Return the rows of a CSV file by column; None fills a row that a kill has cut off."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _stays(row: dict[str, str | None], step: int | None) -> bool:
    """Whether a row was logged before a training step, or, if that is None, by no test."""
    if None in row.values() or not (row["step"] or "").isdigit():  # cut off
        return False
    logged = [name for name, value in row.items() if value]
    if step is None:
        return not any("test" in name or "_at_length" in name for name in logged)
    if "warmup/step" in logged or "pretrain/step" in logged:
        return True
    # The monitor logs after the step, and at step 0 once more; all others before it.
    monitored = step > 0 and any(name.startswith("monitor_") for name in logged)
    return int(row["step"] or 0) < step + monitored
