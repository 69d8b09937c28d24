"""Which checkpoints a run keeps, and how they are written and read."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lightning_warmup.runtime.signals import Interruption


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there: whole or not at all."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint to ``path``."""
        partial = f"{path}.partial"
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, path)


class LatestCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``: when training starts, after every epoch, and whenever some time has gone by.

    A run that is killed loses that time at most, and never its warmup once training has started. The logs are
    written first, so that they reach as far as the checkpoint.

    Args:
        folder: Where to keep it.
        interval: Longest time between two checkpoints, in seconds.
        interruption: Tells when the run has to end, which it does once it is saved.
    """

    def __init__(self, folder: Path, interval: float, interruption: Interruption) -> None:
        self.path = folder / "last.ckpt"
        self.interval = interval
        self.interruption = interruption
        self._time = 0.0
        self._step = 0
        self._stopped = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps what the warmup reached; a run that had been stopped early stays so."""
        trainer.should_stop |= self._stopped
        self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when it is time to, on all processes or on none, and only what a run can go on from exactly.

        That is not so between accumulated gradients, before a validation or the end of an epoch, which is not made
        up for on resume, and before the row of a step is logged, unless every step has one.
        """
        step, rows = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        ends = trainer.is_last_batch or step == trainer.max_steps
        if step == self._step or ends or (batch_idx + 1) % (trainer.val_check_batch or float("inf")) == 0:
            return
        if rows > 1 and step % rows == 0:
            return
        due = time.monotonic() - self._time > self.interval or self.interruption.received > 0
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves after the validation of the epoch."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
        self._stopped = trainer.should_stop
        trainer.save_checkpoint(self.path, weights_only=False)
        self._time, self._step = time.monotonic(), trainer.global_step
        self.interruption.end_together(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Whether the training was stopped before its last epoch."""
        return {"stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self._stopped = state_dict["stopped"]


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint of the best validation so far as ``best-epoch=K.ckpt``.

    Args:
        folder: Where to keep it; a run goes on in another folder than it began in if its folder was moved.
        monitor: Name of the figure that decides.
        mode: ``"min"`` or ``"max"``: whether the least or the greatest is best.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(
            folder.absolute(),
            filename="best-{epoch}",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            enable_version_counter=False,  # an epoch that is run again after a kill overwrites its file
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state, with its files where they are now."""
        assert self.dirpath is not None
        here = {
            path: os.path.join(self.dirpath, os.path.basename(path)) for path in state_dict["best_k_models"]
        }
        moved = {
            name: here.get(state_dict[name], state_dict[name])
            for name in ("best_model_path", "kth_best_model_path")
        }
        models = {here[path]: score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": models})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, its tensors and plain values only.

    Raises:
        ValueError: If the file is no checkpoint or damaged.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint if checkpoint["state_dict"] and checkpoint["global_step"] >= 0 else {}
    except Exception as error:
        raise ValueError(
            f"ckpt={str(path)!r}: is no checkpoint, or damaged ({type(error).__name__})"
        ) from None


def check_same_network(path: Path, hyper_parameters: dict[str, Any], module: LightningModule) -> None:
    """Refuses a checkpoint of another network.

    Args:
        path: Where it was read from.
        hyper_parameters: Those in the checkpoint.
        module: What is to be restored from it.

    Raises:
        ValueError: If a hyperparameter that shapes the network differs; the message names those that do.
    """
    free = {"lr", "gamma", "epsilon", "target_update", "stop_when_optimal", "init", "t_max"}
    differ = [
        f"{name}={hyper_parameters.get(name)!r} there, {value!r} here"
        for name, value in module.hparams.items()
        if name not in free and hyper_parameters.get(name) != value
    ]
    if differ:
        raise ValueError(f"ckpt={str(path)!r}: is of another network: {'; '.join(differ)}")
