"""Weights & Biases where its server does not answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from lightning_warmup.runtime import loggers as tracking
from lightning_warmup.runtime.metrics_file import MetricsFile

SETTINGS = {"project": "p", "name": None}


def test_a_server_that_never_answers_is_waited_for_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts connections, and is silent."""
    monkeypatch.setattr(tracking, "INIT_TIMEOUT", 1.0)
    metrics = MetricsFile(tmp_path / "metrics.csv")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        with tracking.open_loggers(metrics, "run", {}, wandb="online", **SETTINGS) as loggers:
            assert len(loggers) == 2
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_a_run_that_the_service_still_holds_is_kept_offline_under_another_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []

    def init(**settings: Any) -> Any:
        ids.append(settings["id"])
        if len(ids) < 3:
            raise wandb.errors.CommError("run ID run is in use")
        return MagicMock()

    monkeypatch.setattr(wandb, "init", init)
    metrics = MetricsFile(tmp_path / "metrics.csv")
    with tracking.open_loggers(metrics, "run", {}, wandb="online", **SETTINGS) as loggers:
        assert isinstance(loggers[1], WandbLogger)
    assert ids == ["run", "run", "run-offline"]


@pytest.mark.parametrize(("error", "status"), [(None, 0), (ValueError, 1), (SystemExit, 1)])
def test_a_run_that_an_exception_or_a_signal_ends_is_marked_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None, status: int
) -> None:
    run = MagicMock()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    metrics = MetricsFile(tmp_path / "metrics.csv")

    def end() -> None:
        with tracking.open_loggers(metrics, "run", {}, wandb="offline", **SETTINGS):
            if error:
                raise error

    if error:
        with pytest.raises(error):
            end()
    else:
        end()
    run.finish.assert_called_once_with(exit_code=status)


def test_a_run_starts_without_a_warning(tmp_path: Path) -> None:
    """Such as that of a setting which has no effect: Lightning's logger gives it to Weights & Biases."""
    code = f"""
from pathlib import Path
from lightning_warmup.runtime.loggers import open_loggers
from lightning_warmup.runtime.metrics_file import MetricsFile

with open_loggers(MetricsFile(Path({str(tmp_path)!r}, "metrics.csv")), "run", {{}}, wandb="offline", **{SETTINGS}):
    pass
"""
    environment = os.environ | {"WANDB_SILENT": "false", "WANDB_CONSOLE": "off"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "offline" in done.stdout + done.stderr
    assert "no effect" not in done.stdout + done.stderr
