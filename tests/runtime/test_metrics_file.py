"""The log of a run, at every moment that a kill may come."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from lightning_warmup.runtime.checkpoints import LatestCheckpoint, read_checkpoint
from lightning_warmup.runtime.files import read_rows
from lightning_warmup.runtime.metrics_file import ROWS_IN_MEMORY, MetricsFile, resumed_metrics_file
from lightning_warmup.runtime.signals import Interruption


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
    assert (
        ours.path.read_text().splitlines() == (tmp_path / "theirs" / "metrics.csv").read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("training", "expected"),
    [(True, ["warmup", "train 4", "monitor 5", "step 4, late"]), (False, None)],
)
def test_a_resumed_run_keeps_the_rows_that_it_will_not_log_again(
    tmp_path: Path, training: bool, expected: list[str] | None
) -> None:
    """Three rows before the checkpoint of step 5, and the row of step 4 that was logged after it was written."""
    checkpoint = tmp_path / "last.ckpt"
    content = {"state_dict": {"weight": torch.zeros(1)}, "global_step": 5, "logged_rows": 3}
    torch.save(content, checkpoint)
    logger = resumed_metrics_file(tmp_path, None, training)
    rows = [("warmup", 9), ("train 4", 4), ("monitor 5", 5), ("step 4, late", 4), ("train 5", 5), ("test", 6)]
    for name, step in rows:
        logger.log_metrics({"name": name}, step=step)
    logger.save()
    with logger.path.open("a") as file:
        file.write("torn")
    resumed = resumed_metrics_file(tmp_path, checkpoint, training)
    found = [row["name"] for row in read_rows(logger.path)]
    assert found == (expected or [name for name, _ in rows])
    assert resumed.rows == len(found)


def test_a_checkpoint_says_how_many_rows_were_logged_before_it(tmp_path: Path) -> None:
    class OneStep(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            self.log("loss", self.weight)
            return self.weight

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 1.0)

    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"warmup/step": 3}, step=0)
    latest = LatestCheckpoint(tmp_path, 1e9, Interruption(tmp_path))
    trainer = Trainer(
        logger=logger, callbacks=[latest], max_epochs=2, log_every_n_steps=1, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(OneStep(), torch.utils.data.DataLoader(torch.zeros(4, 1)))
    assert read_checkpoint(latest.path)["logged_rows"] == 9 == len(read_rows(logger.path))
