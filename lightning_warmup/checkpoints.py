"""Which checkpoints a run keeps: the best one and the latest one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint


class LatestCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``: when training starts, after every epoch, and every minute in between.

    A run that is killed loses a minute at most, and never its warmup once training has started.

    Args:
        folder: Where to keep it.
        interval: Seconds between two checkpoints within an epoch.
    """

    def __init__(self, folder: Path, interval: float = 60.0) -> None:
        self.path = folder / "last.ckpt"
        self.interval = interval
        self._saved = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps what the warmup reached."""
        self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when the interval is over, on all processes or on none."""
        if trainer.strategy.broadcast(time.monotonic() - self._saved > self.interval):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves after the validation of the epoch."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved = time.monotonic()


def best_checkpoint(folder: Path, monitor: str, mode: str) -> ModelCheckpoint:
    """Keeps the checkpoint of the best validation so far as ``best-epoch=K.ckpt``."""
    return ModelCheckpoint(folder, filename="best-{epoch}", monitor=monitor, mode=mode, save_top_k=1)
