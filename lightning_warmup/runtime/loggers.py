"""Where a run is tracked: its metrics file and Weights & Biases, which no other file knows."""

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
"""Seconds to wait for Weights & Biases before the run is kept offline, and for the upload at its end."""


@contextmanager
def open_loggers(
    metrics: MetricsFile, run_id: str, config: dict[str, Any], *, wandb: str, **settings: Any
) -> Iterator[list[Logger]]:
    """Yield the loggers of a run; its Weights & Biases run ends as failed if an exception or a signal ends it.

    Weights & Biases neither hangs nor fails where it can't be reached; the run is kept offline then, in the folder
    ``wandb`` beside the metrics file.

    Args:
        metrics: The metrics file.
        run_id: Identity of the run, the same when it is resumed.
        config: What Weights & Biases records as configuration.
        wandb: ``auto`` (online where an API key is set, else offline), ``online``, ``offline`` or ``disabled``.
        settings: ``project``, ``entity``, ``name`` (None: that of the run folder), ``group`` and ``tags``.
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
    """Show the report of a run and its figures, by name, in Weights & Biases."""
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
            rank_zero_warn(f"Weights & Biases is off, its run could not be started: {error}")
            return None
        wandb.teardown()  # its service still holds the run that could not be started
        reason = (str(error) or type(error).__name__).splitlines()[0]
        rank_zero_info(f"Weights & Biases can't be reached ({reason}); this run is kept offline.")
        try:
            run = _start(mode="offline", **settings)
        except Exception:  # the service holds it even now, and says so by errors of several kinds
            run = _start(mode="offline", **settings | {"id": f"{settings['id']}-offline"})
    return WandbLogger(experiment=run)


@rank_zero_only
def _start(**settings: Any) -> Any:
    """Start a run as Lightning's logger does, but without ``anonymous``, about which Weights & Biases warns."""
    import wandb

    run = wandb.init(**settings)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _has_api_key() -> bool:
    """Whether the environment or the user's netrc file has a key for the Weights & Biases server."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
