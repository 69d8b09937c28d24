"""Measures multistability while a network trains."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from lightning_warmup.callbacks.batches import ToSequences, sequence_batches
from lightning_warmup.callbacks.training_step import TooEarly
from lightning_warmup.callbacks.unchanged import own_random_streams
from lightning_warmup.distributed import world_size
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.networks.find import find_network
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.mode import in_mode
from lightning_warmup.procedures.sequences import Batch


class MultistabilityMonitor(Callback):
    """Measures multistability before a fit and every few epochs, always on the same training sequences.

    The metrics are logged as ``monitor_M1000/vaa``, ``.../resting_vaa``, ``.../resting_fraction``,
    ``.../residual``, ``.../places_layer_1`` and so on. The name has the number M of constant steps. It is
    small here, because a warmed-up network seldom comes to rest early and takes long to measure. The random streams
    of the training stay untouched. Early stopping and checkpoints can use the metrics of an epoch.

    Args:
        network: As for :class:`lightning_warmup.WarmupStage`.
        sequences: As for :class:`lightning_warmup.WarmupStage`.
        every_n_epochs: Epochs between two measurements.
        steps: Number M of constant steps.
        draws: Number of draws of the cuts and the constant input; a measurement is their mean.
        count: Number N of sequences over all processes, at most; the processes share them evenly.
        seed: Seed of the sequences and draws.

    Attributes:
        seconds: Time that this process has spent on measurements.
    """

    def __init__(
        self,
        network: str | None = None,
        sequences: ToSequences | None = None,
        *,
        every_n_epochs: int = 1,
        steps: int = 1000,
        draws: int = 1,
        count: int = 64,
        seed: int = 0,
    ) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs}: must be at least 1")
        self.network = network
        self.sequences = sequences
        self.every_n_epochs = every_n_epochs
        self.steps = steps
        self.draws = draws
        self.count = count
        self.seed = seed
        self.seconds = 0.0
        self._batch: Batch | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the sequences before the training reads its data."""
        self._batch = None
        if trainer.limit_train_batches != 0:
            with suppress(TooEarly):
                self._batch = self._take(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network before its first epoch, but not in a resumed fit."""
        if trainer.global_step == 0 and trainer.ckpt_path is None and self._batch is not None:
            self._measure(trainer, find_network(pl_module, self.network))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take the sequences and measure before the first batch, if the training step could not run earlier."""
        if self._batch is None:
            self._batch = self._take(trainer, pl_module)
            self.on_train_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network, and offer the metrics to other callbacks."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            rnn = find_network(pl_module, self.network)
            metrics = trainer.strategy.broadcast(self._measure(trainer, rnn))
            pl_module.log_dict(metrics, logger=False, batch_size=1, sync_dist=True)

    def _take(self, trainer: Trainer, module: LightningModule) -> Batch:
        rnn = find_network(module, self.network)
        count = self.count - self.count % world_size()  # shared evenly
        source = trainer, module, rnn, self.sequences, count, self.seed
        with own_random_streams(), closing(sequence_batches(*source)) as batches:
            return next(batches)

    def _measure(self, trainer: Trainer, rnn: nn.Module) -> dict[str, float]:
        """Measure and log on the first process only, since the network is the same on all."""
        if not trainer.is_global_zero or self._batch is None:
            return {}
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(self.seed)
        with in_mode(rnn, training=False):
            measured = multistability(
                layers_of(rnn), *self._batch, steps=self.steps, draws=self.draws, generator=generator
            )
        found = asdict(measured)
        places = found.pop("places_per_layer")
        found |= {f"places_layer_{index}": number for index, number in enumerate(places, start=1)}
        metrics = {f"monitor_M{self.steps}/{name}": value for name, value in found.items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        self.seconds += time.perf_counter() - start
        return metrics
