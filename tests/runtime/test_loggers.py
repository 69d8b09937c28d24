"""Weights & Biases where its server does not answer, and the log where a kill comes in between."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from lightning_warmup.runtime import loggers as tracking


def test_a_server_that_never_answers_is_waited_for_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts connections, and is silent."""
    monkeypatch.setattr(tracking, "INIT_TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        logger = tracking.wandb_logger("online", tmp_path, "run", {}, project="p")
        assert logger is not None
        tracking.finish([logger], failed=False)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_the_log_of_a_run_is_there_until_it_is_replaced(tmp_path: Path) -> None:
    """And is replaced whole when a figure comes that it had no column for."""
    log = tmp_path / "metrics.csv"
    logger = tracking.csv_logger(tmp_path)
    logger.log_metrics({"val/loss": 1.0}, step=3)
    logger.save()
    before = log.read_text()
    tracking._Writer(str(tmp_path))
    assert log.read_text() == before
    inode = log.stat().st_ino
    logger.log_metrics({"other": 2.0}, step=4)
    logger.save()
    assert log.read_text().splitlines() == ["other,step,val/loss", ",3,1.0", "2.0,4,"]
    assert log.stat().st_ino != inode
    tracking.csv_logger(tmp_path)
    assert not log.exists()


def test_a_run_that_the_service_still_holds_is_kept_offline_under_another_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []

    def connected(logger: WandbLogger) -> WandbLogger:
        ids.append(logger._wandb_init["id"])
        if len(ids) < 3:
            raise wandb.errors.CommError("run ID run is in use")
        return logger

    monkeypatch.setattr(tracking, "_connected", connected)
    assert tracking.wandb_logger("online", tmp_path, "run", {}, project="p") is not None
    assert ids == ["run", "run", "run-offline"]
