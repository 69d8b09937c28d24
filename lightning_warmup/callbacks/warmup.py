"""The warmup as a stage of a Lightning fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import nn

from lightning_warmup.callbacks.batches import ToSequences, first_element, to_device
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.dynamics.functional import EPSILON
from lightning_warmup.networks.find import find_network
from lightning_warmup.procedures import Batch
from lightning_warmup.procedures.objectives import Objective, make_objective
from lightning_warmup.procedures.regularize import Regularizer
from lightning_warmup.procedures.result import WarmupResult, WarmupStep
from lightning_warmup.procedures.warmup import Warmup, WarmupPlan


class WarmupStage(Stage):
    """Warm up the recurrent network of a LightningModule when a fit starts.

    It runs and logs as every :class:`lightning_warmup.callbacks.stage.Stage`, as ``warmup/*``.

    Args:
        network: This, ``sequences`` and ``batch_size`` are arguments of every stage, the others of
            :func:`lightning_warmup.procedures.warmup.warmup`.
        regularize: Weight of the objective in the loss of every fourth training step; 0 is not at all.

    Attributes:
        result: What the warmup has reached; None before it.

    Raises:
        ValueError: If an argument is out of range; at the start of the fit, if the network is not found.
        WarmupDiverged: If the loss, a gradient or a weight of the warmup is not finite.

    Example:
        ``trainer = Trainer(callbacks=[WarmupStage(steps=100)])``
    """

    name, shown = "warmup", {"VAA*": "vaa_star", "M": "stabilization"}
    plan: WarmupPlan

    def __init__(
        self,
        network: str | None = None,
        sequences: ToSequences = first_element,
        *,
        objective: str | Objective = "published",
        steps: int = 100,
        lr: float = 1e-2,
        batch_size: int = 32,
        epsilon: float = EPSILON,
        target: float = 0.95,
        max_stabilization: int = 200,
        stabilization_ramp: int = 10,
        rest_weight: float = 0.6,
        silent: Sequence[int] = (),
        leaky: bool = False,
        regularize: float = 0.0,
        seed: int = 0,
    ) -> None:
        settings = (epsilon, target, max_stabilization, stabilization_ramp, rest_weight, tuple(silent))
        aim = make_objective(objective, *settings)
        super().__init__(network, sequences, batch_size, WarmupPlan(aim, steps, lr, leaky, seed))
        self.regularizer = Regularizer(aim, regularize, seed)
        self.result: WarmupResult | None = None
        self._batch: Any = None

    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Iterator[WarmupStep]:
        """Warm the network up."""
        warmup = Warmup(rnn, batches, self.plan)
        yield from warmup
        self.result = warmup.result

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hold a batch that the objective takes part in."""
        self._batch = batch if self.regularizer.takes_part(trainer.global_step) else None

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the gradient of the objective to that of the training loss."""
        if self._batch is None:
            return
        rnn = find_network(pl_module, self.network)
        batch = to_device(self._batch, self.sequences, trainer, pl_module)
        # At half precision the gradients of the training are scaled.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler else 1.0
        self.regularizer.add_gradient(rnn, batch, trainer.global_step, trainer.accumulate_grad_batches, scale)
        self._batch = None

    def outcome(self) -> str | None:
        """Return what the warmup has reached, and what to try where it missed its goal."""
        result, objective = self.result, self.plan.objective
        if result is None:
            return None
        text = f"VAA {result.vaa:.2f} (resting VAA {result.resting_vaa:.2f}) at M = {result.settle_steps:,}"
        text += f" after {len(result)} steps"
        if result.attempts > 1:
            text += f" in {result.attempts} attempts"
        if result.goal_reached:
            return text
        figure = objective.figure.replace("_", " ").replace("vaa", "VAA")
        advice = f"steps={3 * self.plan.steps}{objective.alternative}"
        return f"{text}; the {figure} should be above {objective.goal}: try {advice}"
