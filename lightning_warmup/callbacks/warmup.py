"""The warmup as a stage of a Lightning fit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from lightning_warmup.callbacks.batches import ToSequences, first_element, prepared
from lightning_warmup.callbacks.stage import Batches, Stage
from lightning_warmup.networks.find import find_network
from lightning_warmup.procedures.objectives import WarmupLoss
from lightning_warmup.procedures.regularize import EVERY, MAX_STABILIZATION, add_gradient
from lightning_warmup.procedures.warmup import ENOUGH, WarmupStep, warmup_steps


class WarmupStage(Stage):
    """Warms the recurrent network of a LightningModule up when a fit starts.

    It runs once, not on resume and not under ``fast_dev_run``, and leaves the random streams and the optimiser of
    the training alone. Every step is logged as ``warmup/*`` on the axis ``warmup/step``.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: Turns a batch into sequences or ``(sequences, lengths)``, laid out as the network takes them;
            with lengths, as for histories of episodes, whole prefixes are used instead of random cuts.
        steps: Number of gradient steps.
        batch_size: Sequences per step, over all processes.
        seed: Seed of everything the stage draws.
        regularize: Weight with which the objective is added to the loss of every fourth training step; 0 is not at all.
        settings: ``objective``, ``lr`` and the other settings of
            :func:`lightning_warmup.procedures.warmup.warmup_steps`.

    Raises:
        ValueError: At the start of the fit, if the network is not found or an argument is out of range.
        WarmupDiverged: If the loss or a gradient of the warmup is not finite.

    Example:
        ``trainer = Trainer(callbacks=[WarmupStage(steps=100)])``
    """

    name = "warmup"

    def __init__(
        self,
        network: str | None = None,
        sequences: ToSequences = first_element,
        *,
        steps: int = 100,
        batch_size: int = 32,
        seed: int = 0,
        regularize: float = 0.0,
        **settings: Any,
    ) -> None:
        unknown = set(settings) - set(inspect.signature(warmup_steps).parameters)
        if unknown:
            raise TypeError(f"WarmupStage takes no {', '.join(sorted(unknown))}")
        super().__init__(network, sequences, steps, batch_size, seed)
        self.regularize = regularize
        self.settings = settings
        self._batch: Any = None

    def run(self, rnn: nn.Module, batches: Batches) -> Iterator[WarmupStep]:
        """Warms the network up."""
        return warmup_steps(rnn, batches, steps=self.steps, seed=self.seed, **self.settings)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Takes the sequences of every fourth batch, if the objective is kept in training."""
        self._batch = batch if self.regularize and trainer.global_step % EVERY == 0 else None

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the gradient of the objective to that of the training loss."""
        if self._batch is None:
            return
        sequences, lengths = prepared(self._batch, self.sequences, trainer, pl_module)
        rnn = find_network(pl_module, self.network)
        generator = torch.Generator().manual_seed(self.seed + 1 + trainer.global_step)
        # At half precision the gradients of the training are scaled.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        weight = self.regularize / trainer.accumulate_grad_batches * (scaler.get_scale() if scaler else 1.0)
        settings = {f.name: self.settings[f.name] for f in fields(WarmupLoss) if f.name in self.settings}
        longest = min(self.settings.get("max_stabilization", MAX_STABILIZATION), MAX_STABILIZATION)
        add_gradient(rnn, sequences, lengths, weight, generator, WarmupLoss(**settings), longest)
        self._batch = None

    def shown(self, step: WarmupStep) -> dict[str, Any]:
        """VAA* and the stabilisation length."""
        return {"VAA*": f"{step.vaa_star:.2f}", "M": step.stabilization}

    def outcome(self, last: WarmupStep) -> str | None:
        """Whether a warmup for rest has ended at rest, and what it has reached."""
        if last.reached is None:
            return None
        met = "ended at rest" if last.reached > ENOUGH else "did not end at rest"
        steps = f"after {last.step + 1} steps" + (f", in attempt {last.attempt}" if last.attempt > 1 else "")
        return f"{met} {steps}: resting VAA {last.reached:.2f} at M = 10,000, it should be above {ENOUGH}"
