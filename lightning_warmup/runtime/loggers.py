"""Where a run is tracked: a CSV file and Weights & Biases, of which no other file knows."""

from __future__ import annotations

import csv
import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_warmup.runtime.checkpoints import read_checkpoint

INIT_TIMEOUT = 20.0
"""Seconds to wait for Weights & Biases at the start, before the run is kept offline."""

FINISH_TIMEOUT = 60.0
"""Seconds to wait for the upload of what is left at the end."""


def csv_logger(folder: Path, checkpoint: Path | None = None, training: bool = True) -> CSVLogger:
    """A logger that writes ``metrics.csv`` in a folder.

    Args:
        folder: The run folder.
        checkpoint: The checkpoint that the run goes on from: rows up to it are kept, later ones are about to be
            measured again. None starts a new file.
        training: Whether the run trains on; else all that is kept of an earlier test is dropped, and nothing more.
    """
    path = folder / "metrics.csv"
    kept: list[dict[str, Any]] = []
    if checkpoint is not None and path.is_file():
        step = read_checkpoint(checkpoint)["global_step"] if training else None
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if _is_before(row, step)]
    logger = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=20)
    _write_first(logger, kept)
    return logger


class _Writer(ExperimentWriter):
    """Writes ``metrics.csv``; a kill at any moment leaves the rows that were there."""

    def replace(self, rows: list[dict[str, Any]]) -> None:
        """Writes the file anew, whole or not at all."""
        partial = f"{self.metrics_file_path}.partial"
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, self.metrics_file_path)

    def _check_log_dir_exists(self) -> None:
        """Leaves the file of an earlier process until it is replaced."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="") as file:
            rows = list(csv.DictReader(file))
        self.replace(rows)


def _is_before(row: dict[str, str | None], step: int | None) -> bool:
    """Whether a row was logged up to a training step, or is of no test if that is None; a torn row never is."""
    if None in row.values() or not (row["step"] or "").isdigit():
        return False
    if step is None:
        return not any(value and ("test" in name or "_at_length" in name) for name, value in row.items())
    if row.get("warmup/step") or row.get("pretrain/step"):
        return True
    monitored = any(value and name.startswith("monitor_") for name, value in row.items())
    return int(row["step"] or 0) < step + monitored  # monitors look at what a step has led to


@rank_zero_only
def _write_first(logger: CSVLogger, rows: list[dict[str, Any]]) -> None:
    logger._experiment = writer = _Writer(logger.log_dir)
    if rows:
        writer.metrics_keys = sorted(set().union(*rows))
        writer.replace(rows)
    else:
        Path(writer.metrics_file_path).unlink(missing_ok=True)


def wandb_logger(
    mode: str, folder: Path, run_id: str, config: dict[str, Any], **settings: Any
) -> WandbLogger | None:
    """A Weights & Biases logger that neither hangs nor fails where the service can't be reached.

    Args:
        mode: ``auto`` (online where an API key is set, else offline), ``online``, ``offline`` or ``disabled``.
        folder: The run folder; the files go to its folder ``wandb``.
        run_id: Identity of the run, the same when it is resumed.
        config: What to record as the run's configuration.
        settings: ``project``, ``entity``, ``name``, ``group`` and ``tags``.

    Returns:
        The logger, or None if ``disabled``.
    """
    if mode == "disabled":
        return None
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _has_api_key() else "offline")
        if mode == "disabled":
            return None
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    arguments = {
        "save_dir": folder,
        "id": run_id,
        "resume": "allow",
        "config": config,
        "settings": wandb.Settings(init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT),
        **settings,
    }
    try:
        return _connected(WandbLogger(mode=mode, **arguments))
    except (wandb.errors.Error, OSError) as error:
        if mode == "offline":
            rank_zero_warn(f"Weights & Biases is off, its run could not be started: {error}")
            return None
        wandb.teardown()  # its service still holds the run that could not be started
        reason = (str(error) or type(error).__name__).splitlines()[0]
        rank_zero_info(f"Weights & Biases can't be reached ({reason}); this run is kept offline.")
        try:
            return _connected(WandbLogger(mode="offline", **arguments))
        except wandb.errors.Error:  # the service holds it even now
            return _connected(WandbLogger(mode="offline", **arguments | {"id": f"{run_id}-offline"}))


def _has_api_key() -> bool:
    """Whether the environment or the user's netrc file has a key for the Weights & Biases server."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _connected(logger: WandbLogger) -> WandbLogger:
    _ = logger.experiment  # starts the run, on the first process
    return logger


def log_results(loggers: list[Logger], report: dict[str, Any], images: dict[str, Path]) -> None:
    """Shows the report of a run and its figures, by name, in Weights & Biases."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(report)
            for name, path in images.items():
                logger.log_image(name, [str(path)])


@rank_zero_only
def finish(loggers: list[Logger], failed: bool) -> None:
    """Ends the Weights & Biases run, marked as failed or not."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))
