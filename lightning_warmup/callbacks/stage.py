"""A stage of a Lightning fit before its first epoch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any, ClassVar
from weakref import ReferenceType, ref

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from tqdm import tqdm

from lightning_warmup.callbacks.batches import ToSequences, sequence_batches
from lightning_warmup.networks.find import find_network
from lightning_warmup.procedures import require
from lightning_warmup.procedures.sequences import Batch


class Stage(Callback, ABC):
    """Gradient steps on the recurrent network of a LightningModule when a fit starts, with their own optimizer.

    A stage runs once for a network: not on resume, and not under ``fast_dev_run``. It leaves the random streams,
    data and optimizer of the training alone. Every step is logged as ``name/*`` on the axis ``name/step``; if a
    Trainer has several stages of one kind, as ``name/network/*`` by the names of their networks.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: By default the sequences are those that the network is given first in the training step, which
            is run as far as that, see :func:`lightning_warmup.callbacks.observed.observed`. Else a function from
            ``batch`` or ``(batch, module)`` to sequences or ``(sequences, lengths)``, laid out as the network takes
            them. With lengths, as of packed sequences, whole prefixes replace random cuts.
        batch_size: Sequences per step, over all processes; training batches are cut and joined to it, see
            :func:`lightning_warmup.callbacks.batches.sequence_batches`.
        steps: Gradient steps; a missed goal can take further ones.
        seed: Seed of the order of the sequences.

    Attributes:
        name: Name of the stage in logs and reports.
        shown: Fields of a step that the progress bar shows, by their labels.
        done: Whether it has run.
        seconds: Time that it has taken.

    Raises:
        ValueError: If an argument is out of range; at the start of the fit, if the network is not found or its
            weights are shared out among processes.
    """

    name: ClassVar[str]
    shown: ClassVar[dict[str, str]]

    def __init__(
        self, network: str | None, sequences: ToSequences | None, batch_size: int, steps: int, seed: int
    ) -> None:
        require("batch_size", batch_size, batch_size >= 1, "at least 1")
        self.network, self.sequences = network, sequences
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self.done, self.seconds = False, 0.0
        self._network: ReferenceType[nn.Module] | None = None  # that it has run for, if that is known
        self._resumed = False

    @abstractmethod
    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Iterator[Any]:
        """Move the network step by step; yield for each a dataclass of figures that has a field ``step``."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return what the report says of the stage: how it moved the weights, and what it has reached."""

    def outcome(self) -> str | None:
        """Return what the stage has reached, in one line."""
        return None

    @property
    def state_key(self) -> str:
        """Key of the stage in a checkpoint, its own for each network."""
        return f"{type(self).__qualname__}({self.network or ''})"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what the last fit was."""
        self._resumed = False

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note that a fit is resumed: finders of learning rates and batch sizes load a checkpoint of no step."""
        self._resumed |= checkpoint["global_step"] > 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the stage."""
        title, rnn = self.name.capitalize(), find_network(pl_module, self.network)
        done = self.done and (self._network is None or self._network() is rnn)
        self._network = ref(rnn)
        for holds, reason in (
            (self._resumed, "not repeated, the fit goes on from a checkpoint."),
            (done, "not repeated, this stage has run already."),
            (trainer.fast_dev_run, "skipped under fast_dev_run."),  # type: ignore[attr-defined]
        ):
            if holds:
                rank_zero_info(f"{title}: {reason}")
                return
        require_whole_weights(trainer)
        start = time.perf_counter()
        alike = [other for other in trainer.callbacks if type(other) is type(self)]  # type: ignore[attr-defined]
        group = self.name if len(alike) == 1 else f"{self.name}/{self.network}"
        hidden = trainer.progress_bar_callback is None or not trainer.is_global_zero
        source = trainer, pl_module, rnn, self.sequences, self.batch_size, self.seed
        with isolate_rng(), closing(sequence_batches(*source)) as batches:
            progress = tqdm(self.run(rnn, batches), desc=title, total=self.steps, disable=hidden)
            for number, step in enumerate(progress, start=1):
                progress.total = max(number, self.steps)  # a missed goal takes further steps
                progress.set_postfix({label: getattr(step, name) for label, name in self.shown.items()})
                _log(trainer, group, asdict(step))
        if (outcome := self.outcome()) is not None:
            rank_zero_info(f"{title}: {outcome}")
        self.done, self.seconds = True, time.perf_counter() - start

    def state_dict(self) -> dict[str, Any]:
        """Return whether the stage is done, and how long it took."""
        return {"done": self.done, "seconds": self.seconds}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle keeps: not which network the stage has run for."""
        return vars(self) | {"_network": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.done, self.seconds = state_dict["done"], state_dict["seconds"]


def _log(trainer: Trainer, group: str, figures: dict[str, Any]) -> None:
    """Log the figures of a step as ``group/*``."""
    metrics = {f"{group}/{key}": value for key, value in figures.items() if value is not None}
    for logger in trainer.loggers:
        define_metric = getattr(getattr(logger, "experiment", None), "define_metric", None)
        if define_metric is None:
            logger.log_metrics(metrics, step=figures["step"])
            continue
        if figures["step"] == 0:  # Weights & Biases: not on the axis of the training steps
            define_metric(f"{group}/step")
            define_metric(f"{group}/*", step_metric=f"{group}/step")
        logger.log_metrics(metrics)


def require_whole_weights(trainer: Trainer) -> None:
    """Raise a ValueError if a strategy shares the weights out among processes."""
    if isinstance(trainer.strategy, (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)):
        reason = (
            "must keep all weights in every process, as 'ddp' does; a stage sums gradients over processes"
        )
        raise ValueError(f"strategy={type(trainer.strategy).__name__}: {reason}")
