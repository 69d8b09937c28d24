"""The log of a run, at every moment that a kill may come."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_warmup.runtime.metrics_file import ROWS_IN_MEMORY, MetricsFile, resumed_metrics_file


def test_the_file_of_an_earlier_run_is_removed(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text("step\n1\n")
    MetricsFile(log)
    assert not log.exists()


def test_the_file_is_replaced_whole_when_a_column_is_new(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    logger = MetricsFile(log)
    logger.log_metrics({"val/loss": torch.tensor(1.0)}, step=3)
    logger.save()
    inode = log.stat().st_ino
    logger.log_metrics({"val/loss": 0.5}, step=4)
    logger.save()
    assert log.stat().st_ino == inode
    logger.log_metrics({"other": 2.0}, step=4)
    logger.finalize("success")
    assert log.read_text().splitlines() == ["other,step,val/loss", ",3,1.0", ",4,0.5", "2.0,4,"]
    assert log.stat().st_ino != inode
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_rows_are_written_after_a_while_without_being_asked(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    logger = MetricsFile(log)
    for step in range(ROWS_IN_MEMORY):
        assert not log.exists()
        logger.log_metrics({"loss": 1.0}, step=step)
    assert len(log.read_text().splitlines()) == ROWS_IN_MEMORY + 1


def test_the_file_is_that_of_lightning(tmp_path: Path) -> None:
    """Rows, columns and numbers, in the same order."""
    ours = MetricsFile(tmp_path / "metrics.csv")
    theirs = CSVLogger(tmp_path / "theirs", name="", version="")
    rows = [{"b": 1.0 / 3}, {"b": 2, "a": float("nan")}, {"step": 7.0, "a": 1e-9}, {"a": 1.0}, {"c": -0.0}]
    for step, row in enumerate(rows):
        for logger in (ours, theirs):
            logger.log_metrics(dict(row), step=step // 2)
            if step in (0, 1, 3):
                logger.save()
    ours.finalize("success")
    theirs.finalize("success")
    assert ours.path.read_bytes() == (tmp_path / "theirs" / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (True, ["warmup", "train 4", "monitor 5"]),
        (False, ["warmup", "train 4", "monitor 5", "train 5"]),
    ],
)
def test_a_resumed_run_keeps_the_rows_that_it_will_not_log_again(
    tmp_path: Path, training: bool, expected: list[str]
) -> None:
    checkpoint = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "global_step": 5}, checkpoint)
    logger = resumed_metrics_file(tmp_path, None, training)
    for name, step, figure in [
        ("warmup", 9, {"warmup/step": 9}),
        ("train 4", 4, {"train/loss": 1.0}),
        ("monitor 5", 5, {"monitor_vaa": 0.5}),
        ("train 5", 5, {"train/loss": 1.0}),
        ("test", 4 if not training else 6, {"test/loss": 1.0}),
    ]:
        logger.log_metrics({"name": name, **figure}, step=step)
    logger.save()
    with logger.path.open("a") as file:
        file.write("torn,0.")
    resumed_metrics_file(tmp_path, checkpoint, training)
    with logger.path.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == expected


def test_what_the_monitor_saw_before_the_first_step_is_not_there_twice(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "global_step": 0}, checkpoint)
    logger = resumed_metrics_file(tmp_path, None, training=True)
    logger.log_metrics({"monitor_vaa": 0.5}, step=0)
    logger.log_metrics({"warmup/step": 0}, step=0)
    logger.save()
    resumed_metrics_file(tmp_path, checkpoint, training=True)
    with logger.path.open(newline="") as file:
        assert [row["monitor_vaa"] for row in csv.DictReader(file)] == [""]
