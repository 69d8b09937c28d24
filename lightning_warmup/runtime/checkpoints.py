"""The checkpoints of a run: when they are written, how, and how they are read."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from lightning_warmup.runtime.files import replacing
from lightning_warmup.runtime.metrics_file import MetricsFile
from lightning_warmup.runtime.signals import Interruption


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all.

    Lightning's own atomic save writes to the system's temporary folder first. If that is on another disk, the move
    is a copy, and a kill leaves half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with replacing(Path(path)) as partial:
            super().save_checkpoint(checkpoint, partial, storage_options)


class LatestCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` when training starts, after every epoch, and every ``interval`` seconds.

    A killed run loses that time at most, and never its warmup once training has started. The logs are written
    before the checkpoint, so they are never behind it. If a signal was received, ``interruption`` ends the run
    after a save.
    """

    def __init__(self, folder: Path, interval: float, interruption: Interruption) -> None:
        self.path = folder / "last.ckpt"
        self.interval = interval
        self.interruption = interruption
        self._time = 0.0
        self._step = 0
        self._stopped = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the result of the warmup; a run that had stopped early stops again."""
        trainer.should_stop |= self._stopped
        self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, on all processes or on none.

        Some moments can't be resumed exactly, and there is no save then: between accumulated gradients; right
        before a validation or the end of an epoch, which a resumed run would skip; and before the metrics of a step
        are logged, unless every step logs some.
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
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
        self._stopped = trainer.should_stop
        trainer.save_checkpoint(self.path, weights_only=False)
        self._time, self._step = time.monotonic(), trainer.global_step
        self.interruption.end_together(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the number of rows in the metrics file, so that a resumed run does not log them again."""
        rows = [logger.rows for logger in trainer.loggers if isinstance(logger, MetricsFile)]
        checkpoint["logged_rows"] = sum(rows)

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._stopped = state_dict["stopped"]


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint of the best validation so far as ``best-epoch=K.ckpt``.

    ``mode`` says whether the metric ``monitor`` is better if it is lower (``"min"``) or higher (``"max"``). A run
    can be resumed after its folder was moved, and in another folder.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(
            folder.absolute(),
            filename="best-{epoch}",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            enable_version_counter=False,  # an epoch repeated after a kill overwrites its file
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; its paths point to the current folder, if the files are there."""
        assert self.dirpath is not None
        models = state_dict["best_k_models"]
        moved_to = {path: os.path.join(self.dirpath, os.path.basename(path)) for path in models}
        here = {path: new if os.path.isfile(new) else path for path, new in moved_to.items()}
        if gone := [path for path in here.values() if not os.path.isfile(path)]:
            rank_zero_info(f"{gone[0]} is gone: the best validation is sought from here on.")
            return
        names = ("best_model_path", "kth_best_model_path")
        moved: dict[str, Any] = {name: here.get(state_dict[name], state_dict[name]) for name in names}
        moved["best_k_models"] = {here[path]: score for path, score in models.items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath})


def checkpoint_callbacks(folder: Path, monitor: str, mode: str, interval: float) -> list[Callback]:
    """Return the callbacks that save a run and end it on a signal."""
    end = Interruption(folder.parent)
    return [end, BestCheckpoint(folder, monitor, mode), LatestCheckpoint(folder, interval, end)]


def restore_best(trainer: Trainer, callback: Callback) -> Path | None:
    """Restore the module and a callback to the best validation of a fit, and return its checkpoint, or None."""
    best = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    if not best:
        return None
    checkpoint = read_checkpoint(Path(best))
    trainer.lightning_module.load_state_dict(checkpoint["state_dict"])
    callback.load_state_dict(checkpoint["callbacks"][callback.state_key])
    return Path(best)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only``.

    Raises:
        ValueError: If the file is not a checkpoint or is damaged.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not checkpoint["state_dict"] or checkpoint["global_step"] < 0:
            raise ValueError("no weights, or no step")
    except Exception as error:  # of many kinds, by what the file is
        reason = type(error).__name__
        raise ValueError(f"ckpt={str(path)!r}: not a checkpoint, or damaged ({reason})") from None
    return checkpoint


def check_same_network(path: Path, checkpoint: Mapping[str, Any], module: Any) -> None:
    """Check that a module can be restored from the content of a checkpoint, which was read from ``path``.

    Raises:
        ValueError: If a hyperparameter differs that ``module.may_differ`` does not list.
    """
    saved = _flat(checkpoint.get("hyper_parameters", {}))
    differ = [
        f"{name}={saved.get(name)!r} there, {value!r} here"
        for name, value in _flat(module.hparams).items()
        if name not in module.may_differ and saved.get(name) != value
    ]
    if differ:
        raise ValueError(f"ckpt={str(path)!r}: belongs to another network: {'; '.join(differ)}")


def _flat(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters and those of the network in one dict."""
    others = dict(hyperparameters)
    return (others.pop("network", None) or {}) | others
