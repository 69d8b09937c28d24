"""A stage of a Lightning fit before its first epoch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any, ClassVar
from weakref import ReferenceType, ref

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from tqdm import tqdm

from lightning_warmup.callbacks.batches import ToSequences, sequence_batches
from lightning_warmup.callbacks.copies import renew_copies
from lightning_warmup.callbacks.observed import TooEarly
from lightning_warmup.networks.find import find_network
from lightning_warmup.procedures import require
from lightning_warmup.procedures.sequences import Batch


class Stage(Callback, ABC):
    """Gradient steps on the recurrent network of a LightningModule when a fit starts, with their own optimizer.

    A stage runs once for a network: not on resume, and not under ``fast_dev_run``. If the weights are set after it,
    as by a module that initialises them in ``on_train_start``, it is repeated before the first batch. Then the
    optimizers of the training are made anew. Random streams, data and what the module holds stay as they were, see
    :func:`lightning_warmup.callbacks.unchanged.unchanged`. Every step is logged as ``name/*`` on the axis
    ``name/step``; if a Trainer has several stages of one kind, as ``name/network/*``.

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
        self._shared = torch.zeros(2, dtype=torch.float64).share_memory_()  # done and seconds
        self._network: ReferenceType[nn.Module] | None = None  # that it has run for, if that is known
        self._resumed = False
        self._waits = False  # for the first batch
        self._left: list[Tensor] | None = None  # weights that the first batch has to find

    @property
    def done(self) -> bool:
        """Whether it has run; processes that a fit has spawned tell those that go on after it."""
        return bool(self._shared[0])

    @property
    def seconds(self) -> float:
        """Time that it has taken."""
        return float(self._shared[1])

    @abstractmethod
    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Generator[Any]:
        """Move the network step by step; yield for each a dataclass of metrics that has a field ``step``."""

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
        """Run the stage, or wait for the first batch if the training step can't be run before."""
        rnn = find_network(pl_module, self.network)
        done = self.done and (self._network is None or self._network() is rnn)
        self._network, self._left, self._waits = ref(rnn), None, False
        for holds, reason in (
            (self._resumed, "not repeated, the fit goes on from a checkpoint."),
            (done, "not repeated, this stage has run already."),
            (trainer.fast_dev_run, "skipped under fast_dev_run."),  # type: ignore[attr-defined]
            (trainer.limit_train_batches == 0, "skipped, limit_train_batches=0 leaves no training data."),
        ):
            if holds:
                self._say(reason)
                return
        require_whole_weights(trainer)
        try:
            self._run(trainer, pl_module, rnn)
        except TooEarly as error:
            if 0 in (trainer.max_steps, trainer.max_epochs):
                raise
            self._say(f"waits for the first batch ({error}).")
            self._waits = True
            return
        for stage in (s for s in _stages(trainer) if s is self or s._left is not None):
            weights = find_network(pl_module, stage.network).parameters()
            stage._left = [parameter.detach().clone() for parameter in weights]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the first batch, run the stage if it had to wait, or again if the weights have been set since."""
        left, waits = self._left, self._waits
        if left is None and not waits:
            return
        self._left, self._waits = None, False
        rnn = find_network(pl_module, self.network)
        changed = left is not None and not all(map(torch.equal, left, rnn.parameters()))
        if trainer.strategy.reduce_boolean_decision(changed, all=False):
            self._say("repeated, since the weights of the network were set after it.")
            waits = True
        if waits:
            self._run(trainer, pl_module, rnn, left)

    def _run(
        self, trainer: Trainer, module: LightningModule, rnn: nn.Module, left: list[Tensor] | None = None
    ) -> None:
        """Take the steps, and make the optimizers anew: they may hold copies of the weights from before."""
        start = time.perf_counter()
        earlier = [[parameter.detach().clone() for parameter in rnn.parameters()]] + ([left] if left else [])
        alike = [other for other in _stages(trainer) if type(other) is type(self)]
        group = self.name if len(alike) == 1 else f"{self.name}/{self.network}"
        hidden = trainer.progress_bar_callback is None or not trainer.is_global_zero
        source = trainer, module, rnn, self.sequences, self.batch_size, self.seed
        with (
            isolate_rng(),
            closing(sequence_batches(*source)) as batches,
            closing(self.run(rnn, batches)) as steps,
        ):
            progress = tqdm(steps, desc=self.name.capitalize(), total=self.steps, disable=hidden)
            for number, step in enumerate(progress, start=1):
                progress.total = max(number, self.steps)  # a missed goal takes further steps
                progress.set_postfix({label: getattr(step, name) for label, name in self.shown.items()})
                _log(trainer, group, asdict(step))
        with isolate_rng():
            trainer.strategy.setup_optimizers(trainer)
        renew_copies(trainer.optimizers, rnn, earlier)
        if (outcome := self.outcome()) is not None:
            self._say(outcome)
        self._shared[0], self._shared[1] = 1, time.perf_counter() - start

    def _say(self, text: str) -> None:
        rank_zero_info(f"{self.name.capitalize()}: {text}")

    def state_dict(self) -> dict[str, Any]:
        """Return whether the stage is done, and how long it took."""
        return {"done": self.done, "seconds": self.seconds}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle keeps: not which network the stage has run for."""
        return vars(self) | {"_network": None, "_left": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._shared[0], self._shared[1] = state_dict["done"], state_dict["seconds"]


def _stages(trainer: Trainer) -> list[Stage]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Stage)]  # type: ignore[attr-defined]


def _log(trainer: Trainer, group: str, seen: dict[str, Any]) -> None:
    """Log the metrics of a step as ``group/*``."""
    metrics = {f"{group}/{key}": value for key, value in seen.items() if value is not None}
    for logger in trainer.loggers:
        define_metric = getattr(getattr(logger, "experiment", None), "define_metric", None)
        if define_metric is None:
            logger.log_metrics(metrics, step=seen["step"])
            continue
        if seen["step"] == 0:  # Weights & Biases: not on the axis of the training steps
            define_metric(f"{group}/step")
            define_metric(f"{group}/*", step_metric=f"{group}/step")
        logger.log_metrics(metrics)


def require_whole_weights(trainer: Trainer) -> None:
    """Raise a ValueError if a strategy shares the weights out among processes."""
    if isinstance(trainer.strategy, (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)):
        reason = "must keep all weights in every process, as 'ddp' does; a stage moves them"
        raise ValueError(f"strategy={type(trainer.strategy).__name__}: {reason}")
