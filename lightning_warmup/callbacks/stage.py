"""A stage of a Lightning fit before its first epoch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from numbers import Integral
from typing import Any, ClassVar
from weakref import ReferenceType, ref

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from tqdm import tqdm

from lightning_warmup.callbacks.batches import ToSequences, sequence_batches
from lightning_warmup.callbacks.copies import renew_copies
from lightning_warmup.callbacks.training_step import TooEarly
from lightning_warmup.callbacks.unchanged import own_random_streams
from lightning_warmup.networks.find import find_network
from lightning_warmup.procedures import require
from lightning_warmup.procedures.sequences import Batch


class Stage(Callback, ABC):
    """Gradient steps on the recurrent network of a LightningModule when a fit starts, with their own optimizer.

    A stage runs once per network: not on resume, and not under ``fast_dev_run``. If something sets the weights
    after it, such as a module that initialises them in ``on_train_start``, the stage runs again before the first
    batch. Copies of the weights that optimizers of the training hold are brought up to date. Random streams, data
    and attributes of the module stay unchanged, see :func:`lightning_warmup.callbacks.unchanged.unchanged`. Every
    step is logged as ``name/*`` on the axis ``name/step``, or as ``name/network/*`` if a Trainer has several stages
    of one kind.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: A function from ``batch`` or ``(batch, module)`` to sequences or ``(sequences, lengths)``, with
            the axes that the network expects. If there are lengths, whole prefixes replace random cuts. By default,
            the training step runs up to the first call of the network, and the sequences are the input of that
            call, see :func:`lightning_warmup.callbacks.training_step.observed`.
        batch_size: Sequences per step, over all processes; training batches are cut and joined to this size, see
            :func:`lightning_warmup.callbacks.batches.sequence_batches`.
        steps: Number of gradient steps; a missed goal can add more.
        seed: Seed of the order of the sequences.

    Attributes:
        name: Name of the stage in logs and reports.
        shown: Fields of a step that the progress bar shows, by label.

    Raises:
        ValueError: If an argument is out of range; at the start of the fit, if the network is not found or a
            process does not hold all its weights.
    """

    name: ClassVar[str]
    shown: ClassVar[dict[str, str]]

    def __init__(
        self, network: str | None, sequences: ToSequences | None, batch_size: int, steps: int, seed: int
    ) -> None:
        require("network", network, network is None or isinstance(network, str), "the name of an attribute")
        require("sequences", sequences, sequences is None or callable(sequences), "a function")
        whole = isinstance(batch_size, Integral)
        require("batch_size", batch_size, whole and batch_size >= 1, "a whole number, at least 1")
        require("seed", seed, isinstance(seed, Integral), "a whole number")
        self.network, self.sequences = network, sequences
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self._shared = torch.zeros(2, dtype=torch.float64).share_memory_()  # done and seconds
        self._network: ReferenceType[nn.Module] | None = None  # the network that it ran for, if known
        self._resumed = False
        self._waits = False  # for the first batch
        self._left: list[Tensor] | None = (
            None  # the weights after it, if the first batch must still find them
        )

    @property
    def done(self) -> bool:
        """Whether the stage has run; spawned processes tell the process that continues after the fit."""
        return bool(self._shared[0])

    @property
    def seconds(self) -> float:
        """Duration of the stage."""
        return float(self._shared[1])

    @abstractmethod
    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Generator[Any]:
        """Train the network step by step; for each step, yield a dataclass of metrics with a field ``step``."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return the settings and results of the stage for the report."""

    def outcome(self) -> str | None:
        """Return the result of the stage in one line."""
        return None

    @property
    def state_key(self) -> str:
        """Key of the stage in a checkpoint, different for each network."""
        return f"{type(self).__qualname__}({self.network or ''})"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget whether the last fit was resumed."""
        self._resumed = False

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember that the fit is resumed. Tuners of learning rate and batch size load a checkpoint of step 0."""
        self._resumed |= checkpoint["global_step"] > 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the stage, or wait for the first batch if the training step can't run earlier."""
        rnn = find_network(pl_module, self.network)
        done = self.done and (self._network is None or self._network() is rnn)
        self._network, self._left, self._waits = ref(rnn), None, False
        again = "not repeated" if self.done else "not run"
        for holds, reason in (
            (self._resumed, f"{again}, the fit resumes from a checkpoint."),
            (done, "not repeated, this stage has already run for this network; a new one repeats it."),
            (trainer.fast_dev_run, "skipped under fast_dev_run."),  # type: ignore[attr-defined]
            (trainer.limit_train_batches == 0, "skipped, limit_train_batches=0 leaves no training data."),
        ):
            if holds:
                self._say(reason)
                return
        require_whole_weights(trainer)
        _require_shapes(pl_module)
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
        """Before the first batch, run the stage if it had to wait, or if the weights have been set since it ran."""
        left, waits = self._left, self._waits
        if left is None and not waits:
            return
        self._left, self._waits = None, False
        rnn = find_network(pl_module, self.network)
        changed = left is not None and not all(map(torch.equal, left, rnn.parameters()))
        if trainer.strategy.reduce_boolean_decision(changed, all=False):
            self._say("repeated, because the weights of the network were set after it.")
            waits = True
        if waits:
            self._run(trainer, pl_module, rnn, left)

    def _run(
        self, trainer: Trainer, module: LightningModule, rnn: nn.Module, left: list[Tensor] | None = None
    ) -> None:
        """Take the steps, then bring copies of the weights that optimizers hold up to date."""
        start = time.perf_counter()
        earlier = [[parameter.detach().clone() for parameter in rnn.parameters()]] + ([left] if left else [])
        alike = [other for other in _stages(trainer) if type(other) is type(self)]
        group = self.name if len(alike) == 1 else f"{self.name}/{self.network}"
        hidden = trainer.progress_bar_callback is None or not trainer.is_global_zero
        source = trainer, module, rnn, self.sequences, self.batch_size, self.seed
        with (
            own_random_streams(),
            closing(sequence_batches(*source)) as batches,
            closing(self.run(rnn, batches)) as steps,
        ):
            progress = tqdm(steps, desc=self.name.capitalize(), total=self.steps, disable=hidden)
            for number, step in enumerate(progress, start=1):
                progress.total = self.steps if number <= self.steps else None  # a missed goal adds steps
                progress.set_postfix({label: getattr(step, name) for label, name in self.shown.items()})
                _log(trainer, group, asdict(step))
        renew_copies(trainer.optimizers, rnn, earlier)
        if (outcome := self.outcome()) is not None:
            self._say(outcome)
        self._shared[0], self._shared[1] = 1, time.perf_counter() - start

    def _say(self, text: str) -> None:
        rank_zero_info(f"{self.name.capitalize()}: {text}")

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done, "seconds": self.seconds}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a copy or a pickle, which does not know the network."""
        return vars(self) | {"_network": None, "_left": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
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
        if seen["step"] == 0:  # Weights & Biases: an axis of its own, not the training steps
            define_metric(f"{group}/step")
            define_metric(f"{group}/*", step_metric=f"{group}/step")
        logger.log_metrics(metrics)


def _require_shapes(module: LightningModule) -> None:
    """Raise a ValueError if lazy modules have no weights yet: the first call would remake them."""
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise ValueError(f"{name}: must have a shape: call the module once before the fit")


def require_whole_weights(trainer: Trainer) -> None:
    """Raise a ValueError if a strategy splits the weights among processes."""
    if isinstance(trainer.strategy, (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)):
        reason = "must keep all weights in every process, as 'ddp' does; a stage changes them"
        raise ValueError(f"strategy={type(trainer.strategy).__name__}: {reason}")
