"""Weights & Biases where its server does not answer."""

from __future__ import annotations

import socket
from pathlib import Path

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

    def connect(logger: WandbLogger) -> WandbLogger:
        ids.append(str(logger.version))
        if len(ids) < 3:
            raise wandb.errors.CommError("run ID run is in use")
        return logger

    monkeypatch.setattr(tracking, "_connect", connect)
    metrics = MetricsFile(tmp_path / "metrics.csv")
    with tracking.open_loggers(metrics, "run", {}, wandb="online", **SETTINGS) as loggers:
        assert isinstance(loggers[1], WandbLogger)
    assert ids == ["run", "run", "run-offline"]


class Run:
    """What Weights & Biases is told at the end."""

    status: int | None = None

    def finish(self, exit_code: int) -> None:
        self.status = exit_code


@pytest.mark.parametrize(("error", "status"), [(None, 0), (ValueError, 1), (SystemExit, 1)])
def test_a_run_that_an_exception_or_a_signal_ends_is_marked_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None, status: int
) -> None:
    run = Run()
    monkeypatch.setattr(tracking, "_connect", lambda logger: logger)
    monkeypatch.setattr(WandbLogger, "experiment", run)
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
    assert run.status == status
