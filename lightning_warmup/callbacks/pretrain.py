"""A pretraining as a stage of a Lightning fit."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import asdict
from typing import Any

from torch import nn

from lightning_warmup.callbacks.batches import ToSequences
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.procedures.pretrain import PretrainPlan, PretrainStep, pretrain_steps
from lightning_warmup.procedures.sequences import Batch


class PretrainStage(Stage):
    """Pretrains the recurrent network of a LightningModule when a fit starts; put it before the warmup.

    It is a :class:`lightning_warmup.callbacks.stage.Stage`, which explains ``network``, ``sequences`` and
    ``batch_size``, and logs ``pretrain/*``. The decoder and the read-out of the pretraining are dropped at its end.

    Args:
        task: ``"autoencode"`` or ``"next_step"``.
        steps: Number of gradient steps.
        lr: Learning rate of the pretraining, which has its own Adam.
        seed: Seed of the order of the sequences and of the read-out.

    Raises:
        ValueError: If an argument is out of range; at the start of the fit, if the network is not found.
    """

    name, shown = "pretrain", {"loss": "loss"}

    def __init__(
        self,
        network: str | None = None,
        sequences: ToSequences | None = None,
        *,
        task: str = "autoencode",
        steps: int = 300,
        lr: float = 1e-3,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(network, sequences, batch_size, steps, seed)
        self.plan = PretrainPlan(task, steps, lr, seed)

    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Generator[PretrainStep]:
        return pretrain_steps(rnn, batches, self.plan)

    def summary(self) -> dict[str, Any]:
        """Return how the network was pretrained."""
        return asdict(self.plan)
