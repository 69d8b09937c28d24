"""Observes the input of a recurrent network in a training step, without side effects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import nn

from lightning_warmup.networks.mode import in_mode
from lightning_warmup.networks.observed import ASK, as_sequences, first_input
from lightning_warmup.procedures.sequences import Batch


class TooEarly(ValueError):
    """The training step fails before it calls the network, perhaps because the training has not begun."""


def observed(
    trainer: Trainer, module: LightningModule, rnn: nn.Module, batch: Any, batch_idx: int = 0
) -> Batch:
    """Return the sequences of the first call of the network in ``module.training_step(batch, batch_idx)``.

    Raises:
        ValueError: As :func:`given` and :func:`lightning_warmup.networks.observed.observe`.
    """
    return as_sequences(rnn, given(trainer, module, rnn, batch, batch_idx))


def given(trainer: Trainer, module: LightningModule, rnn: nn.Module, batch: Any, batch_idx: int = 0) -> Any:
    """Return the input of the first call of the network in ``module.training_step(batch, batch_idx)``.

    The step ends at that call. It does not change statistics, weights, optimizers and logs;
    :func:`lightning_warmup.callbacks.unchanged.unchanged` puts back what else it changes before the call. It draws
    from the global random streams.

    Raises:
        NoSequences: If the step does not call the network.
        TooEarly: If the step fails before it calls the network.
    """
    step = module.training_step
    arguments = (batch, batch_idx) if is_param_in_hook_signature(step, "batch_idx", min_args=2) else (batch,)

    def call() -> None:
        try:
            step(*arguments)
        except Exception as error:
            text = str(error).partition("\n")[0]
            reason = type(error).__name__ + (f": {text}" if text else "")
            where = f"training_step of {type(module).__name__} before it calls the {type(rnn).__name__}"
            how = "(it was run without gradients, in eval mode)"
            raise TooEarly(f"sequences=None: {reason}, in {where} {how}: {ASK}") from error

    with without_a_trace(trainer, module), trainer.precision_plugin.train_step_context():
        return first_input(rnn, call)


@contextmanager
def without_a_trace(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Let a module run without gradients, with all submodules in eval mode and nothing logged.

    Afterwards the modes are restored, and also ``requires_grad``, which a module with several optimizers toggles.
    """
    loggers, given = trainer.loggers, {name: module.__dict__.get(name) for name in ("log", "log_dict")}
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        trainer.loggers = [DummyLogger() for _ in loggers]
        for name in given:
            setattr(module, name, lambda *_, **__: None)
        with torch.no_grad(), in_mode([*module.children()], training=False):
            yield
    finally:
        trainer.loggers = loggers
        for name, own in given.items():
            delattr(module, name) if own is None else setattr(module, name, own)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
