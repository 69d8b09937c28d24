"""Stages of a Lightning fit before its first epoch, the warmup above all."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from tqdm import tqdm

from lightning_warmup.callbacks.batches import (
    ToSequences,
    find_network,
    first_element,
    prepared,
    sequence_batches,
)
from lightning_warmup.procedures.objectives import WarmupLoss
from lightning_warmup.procedures.regularize import KEEP_EVERY, KEEP_LONGEST, add_gradient
from lightning_warmup.procedures.warmup import ENOUGH, WarmupStep, warmup_steps

Batches = Iterator[tuple[Tensor, Tensor | None]]


class Stage(Callback, ABC):
    """Gradient steps on the recurrent network of a LightningModule when a fit starts, with their own optimiser.

    It runs once: not on resume, and not under ``fast_dev_run``. The random streams of training are left as if
    it had not run, and the training optimiser never sees its gradients. Every step is logged as ``name/*`` on the
    axis ``name/step``.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: Turns a batch into sequences or ``(sequences, lengths)``, laid out as the network takes them.
        steps: Number of gradient steps.
        batch_size: Sequences per step, over all processes.
        seed: Seed of everything the stage draws.

    Attributes:
        name: Name of the stage in logs and reports.
        done: Whether it has run.
        seconds: Time that it has taken.
    """

    name: ClassVar[str]

    def __init__(
        self, network: str | None, sequences: ToSequences, steps: int, batch_size: int, seed: int
    ) -> None:
        self.network = network
        self.sequences = sequences
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed
        self.done = False
        self.seconds = 0.0

    @abstractmethod
    def run(self, rnn: nn.Module, batches: Batches) -> Iterator[Any]:
        """Moves the network step by step; yields for each a dataclass of figures that has a field ``step``."""

    @abstractmethod
    def shown(self, step: Any) -> dict[str, Any]:
        """What the progress bar shows of a step."""

    def outcome(self, last: Any) -> str | None:
        """What there is to say of the stage after its last step, in one line."""
        return None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the stage."""
        title = self.name.capitalize()
        if trainer.ckpt_path is not None:
            rank_zero_info(f"{title}: not repeated, the fit goes on from a checkpoint.")
            return
        if self.done:
            rank_zero_info(f"{title}: not repeated, this stage has run already.")
            return
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_info(f"{title}: skipped under fast_dev_run.")
            return
        rnn = find_network(pl_module, self.network)
        start = time.perf_counter()
        with isolate_rng():
            batches = sequence_batches(trainer, pl_module, self.sequences, self.batch_size, self.seed)
            progress = tqdm(
                self.run(rnn, batches),
                desc=title,
                total=self.steps,
                disable=trainer.progress_bar_callback is None or not trainer.is_global_zero,
            )
            for step in progress:
                progress.set_postfix(self.shown(step))
                self._log(trainer, asdict(step))
        outcome = self.outcome(step)
        if outcome is not None:
            rank_zero_info(f"{title}: {outcome}")
        self.done = True
        self.seconds = time.perf_counter() - start

    def state_dict(self) -> dict[str, Any]:
        """Whether the stage is done, and how long it took."""
        return {"done": self.done, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.done = state_dict["done"]
        self.seconds = state_dict["seconds"]

    def _log(self, trainer: Trainer, figures: dict[str, Any]) -> None:
        metrics = {f"{self.name}/{key}": value for key, value in figures.items() if value is not None}
        for logger in trainer.loggers:
            define_metric = getattr(getattr(logger, "experiment", None), "define_metric", None)
            if define_metric is not None:  # Weights & Biases: not on the axis of the training steps
                if figures["step"] == 0:
                    define_metric(f"{self.name}/step")
                    define_metric(f"{self.name}/*", step_metric=f"{self.name}/step")
                logger.log_metrics(metrics)
            else:
                logger.log_metrics(metrics, step=figures["step"])


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
        keep: Weight with which the objective is added to the loss of every fourth training step; 0 is not at all.
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
        keep: float = 0.0,
        **settings: Any,
    ) -> None:
        unknown = set(settings) - set(inspect.signature(warmup_steps).parameters)
        if unknown:
            raise TypeError(f"WarmupStage takes no {', '.join(sorted(unknown))}")
        super().__init__(network, sequences, steps, batch_size, seed)
        self.keep = keep
        self.settings = settings
        self._batch: Any = None

    def run(self, rnn: nn.Module, batches: Batches) -> Iterator[WarmupStep]:
        """Warms the network up."""
        return warmup_steps(rnn, batches, steps=self.steps, seed=self.seed, **self.settings)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Takes the sequences of every fourth batch, if the objective is kept in training."""
        self._batch = batch if self.keep and trainer.global_step % KEEP_EVERY == 0 else None

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the gradient of the objective to that of the training loss."""
        if self._batch is None:
            return
        sequences, lengths = prepared(self._batch, self.sequences, trainer, pl_module)
        rnn = find_network(pl_module, self.network)
        generator = torch.Generator().manual_seed(self.seed + 1 + trainer.global_step)
        # At half precision the gradients of the training are scaled.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        weight = self.keep / trainer.accumulate_grad_batches * (scaler.get_scale() if scaler else 1.0)
        settings = {f.name: self.settings[f.name] for f in fields(WarmupLoss) if f.name in self.settings}
        longest = min(self.settings.get("max_stabilization", KEEP_LONGEST), KEEP_LONGEST)
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
