"""The loggers of a run: its metrics file, and Weights & Biases, which no other file knows."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_warmup.runtime.metrics_file import MetricsFile

INIT_TIMEOUT, FINISH_TIMEOUT = 20.0, 60.0
"""Seconds to wait for Weights & Biases at the start, before the run is kept offline, and for the last upload."""


@contextmanager
def open_loggers(
    metrics: MetricsFile, run_id: str, config: dict[str, Any], *, wandb: str, **settings: Any
) -> Iterator[list[Logger]]:
    """Yield the loggers of a run. If an exception or a signal ends the run, Weights & Biases marks it as failed.

    If Weights & Biases can't be reached, the run is kept offline, in the folder ``wandb`` beside the metrics file.

    Args:
        metrics: The metrics file.
        run_id: Id of the run, the same when it is resumed.
        config: The configuration that Weights & Biases records.
        wandb: ``auto`` (online if an API key is set, otherwise offline), ``online``, ``offline`` or ``disabled``.
        settings: ``project``, ``entity``, ``name`` (None: the name of the run folder), ``group`` and ``tags``.
    """
    if wandb == "auto":
        wandb = os.environ.get("WANDB_MODE") or ("online" if _has_api_key() else "offline")
    folder = metrics.path.parent
    settings |= {"dir": folder, "id": run_id, "config": config, "name": settings["name"] or folder.name}
    online = None if wandb == "disabled" else _wandb_logger(wandb, settings)
    status = 1
    try:
        yield [metrics, online] if online else [metrics]
        status = 0
    finally:
        if online:
            rank_zero_only(online.experiment.finish)(exit_code=status)


def log_results(loggers: list[Logger], report: dict[str, Any], images: dict[str, Path]) -> None:
    """Send the report of a run and its images, by name, to Weights & Biases."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(report)
            for name, path in images.items():
                logger.log_image(name, [str(path)])


def _wandb_logger(mode: str, settings: dict[str, Any]) -> WandbLogger | None:
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    limits = wandb.Settings(init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT)
    settings = settings | {"resume": "allow", "settings": limits}
    try:
        run = _start(mode=mode, **settings)
    except (wandb.errors.Error, OSError) as error:
        if mode == "offline":
            rank_zero_warn(f"Weights & Biases is off, since its run could not be started: {error}")
            return None
        wandb.teardown()  # its service still holds the run that could not be started
        reason = (str(error) or type(error).__name__).splitlines()[0]
        rank_zero_info(f"Weights & Biases can't be reached ({reason}); this run is kept offline.")
        try:
            run = _start(mode="offline", **settings)
        except Exception:  # the service still holds the id, and raises different errors for it
            run = _start(mode="offline", **settings | {"id": f"{settings['id']}-offline"})
    return WandbLogger(experiment=run)


@rank_zero_only
def _start(**settings: Any) -> Any:
    """Start a run like Lightning's logger, but without ``anonymous``, which makes Weights & Biases warn."""
    import wandb

    run = wandb.init(**settings)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _has_api_key() -> bool:
    """Return whether the environment or the user's netrc file has a key for the Weights & Biases server."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
