"""A pretraining as a stage of a Lightning fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from lightning_warmup.callbacks.batches import ToSequences, first_element
from lightning_warmup.callbacks.stage import Batches, Stage
from lightning_warmup.procedures.pretrain import PretrainPlan, PretrainStep, pretrain_steps


class PretrainStage(Stage):
    """Pretrain the recurrent network of a LightningModule when a fit starts; put it before the warmup.

    It runs once, not on resume and not under ``fast_dev_run``, and leaves the random streams and the optimizer of
    the training alone. Every step is logged as ``pretrain/*`` on the axis ``pretrain/step``. The decoder and the
    read-out of the pretraining are dropped when it ends.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: Function that turns a batch into sequences or ``(sequences, lengths)``, laid out as the network
            takes them.
        task: ``"autoencode"`` or ``"next_step"``.
        steps: Number of gradient steps.
        lr: Learning rate of the stage's own Adam.
        batch_size: Sequences per step, over all processes.
        seed: Seed of everything the stage draws.

    Raises:
        ValueError: If an argument is out of range; at the start of the fit, if the network is not found.
    """

    name = "pretrain"

    def __init__(
        self,
        network: str | None = None,
        sequences: ToSequences = first_element,
        *,
        task: str = "autoencode",
        steps: int = 300,
        lr: float = 1e-3,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(network, sequences, steps, batch_size, seed)
        self.plan = PretrainPlan(task, steps, lr, seed)

    def run(self, rnn: nn.Module, batches: Batches) -> Iterator[PretrainStep]:
        """Pretrain the network."""
        return pretrain_steps(rnn, batches, self.plan)

    def shown(self, step: PretrainStep) -> dict[str, Any]:
        """Return the loss."""
        return {"loss": f"{step.loss:.3f}"}
