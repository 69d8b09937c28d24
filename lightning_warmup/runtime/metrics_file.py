"""The metrics file of a run, ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_warmup.runtime.files import append_rows, read_rows, write_rows

ROWS_IN_MEMORY = 20
"""A kill loses fewer rows than this."""


class MetricsFile(Logger):
    """A CSV file with one row per call of ``log_metrics`` and one column per name, in sorted order.

    Only the first process writes. A kill can cut off only the last row.

    Args:
        path: The file; an existing one is replaced.
        rows: Its first rows.

    Attributes:
        rows: Number of logged rows, on the first process.
    """

    name = "csv"
    version = None

    def __init__(self, path: Path, rows: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self._waiting = list(rows)
        self.rows = len(rows)
        if rows:
            self.save()
        else:
            rank_zero_only(path.unlink)(missing_ok=True)

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: they are in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        row = {name: x.item() if isinstance(x, Tensor) else x for name, x in metrics.items()}
        self._waiting.append(row | {"step": step})
        self.rows += 1
        if len(self._waiting) >= ROWS_IN_MEMORY:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        if not self._waiting:
            return
        columns = sorted(set(self._columns).union(*self._waiting))
        if columns == self._columns:
            append_rows(self.path, columns, self._waiting)
        else:
            before = read_rows(self.path) if self._columns else []
            write_rows(self.path, columns, [*before, *self._waiting])
        self._columns, self._waiting = columns, []

    def finalize(self, status: str) -> None:
        self.save()


def resumed_metrics_file(folder: Path, checkpoint: Path | None, training: bool) -> MetricsFile:
    """Open ``metrics.csv`` in a run folder, with the rows that the run will not log again.

    Args:
        folder: The run folder.
        checkpoint: The checkpoint that the run resumes from; None starts a new file.
        training: Whether the run continues its training. If so, rows stay only if they were logged before the
            checkpoint or in an earlier step; otherwise all rows stay.
    """
    path = folder / "metrics.csv"
    if checkpoint is None:
        return MetricsFile(path)
    rows = [row for row in read_rows(path) if row.get("step", "").isdigit()]
    if training:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        logged, step = saved.get("logged_rows", 0), saved["global_step"]
        rows = [row for number, row in enumerate(rows) if number < logged or int(row["step"]) < step]
    return MetricsFile(path, rows)
