"""A stage of a Lightning fit before its first epoch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from tqdm import tqdm

from lightning_warmup.callbacks.batches import ToSequences, sequence_batches
from lightning_warmup.networks.find import find_network

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
