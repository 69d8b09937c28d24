"""The warmup as a stage of a Lightning fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_warmup.callbacks.batches import ToSequences, sequences_of
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.distributed import world_size
from lightning_warmup.networks.find import find_network
from lightning_warmup.networks.layout import batch_first
from lightning_warmup.networks.observed import as_sequences, watch
from lightning_warmup.procedures import Batch
from lightning_warmup.procedures.objectives import Objective
from lightning_warmup.procedures.plan import WarmupPlan, make_plan
from lightning_warmup.procedures.regularize import Regularizer
from lightning_warmup.procedures.result import WarmupResult, WarmupStep
from lightning_warmup.procedures.warmup import Warmup


class WarmupStage(Stage):
    """Warm up the recurrent network of a LightningModule when a fit starts.

    It runs and logs as every :class:`lightning_warmup.callbacks.stage.Stage`, as ``warmup/*``. If the datamodule
    has ``holding_inputs``, an objective that has this setting takes them, unless others are given.

    Args:
        network: This, ``sequences`` and ``batch_size`` are arguments of every stage, the others of
            :func:`lightning_warmup.procedures.warmup.warmup`.
        regularize: Weight of the objective in the loss of every fourth training step, on ``batch_size`` of the
            sequences that the network is given in it, or on all that ``sequences`` makes of it; 0 is not at all; by
            default the objective's own: 0, with ``"rest"`` 1, which needs clipped gradients.

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
        sequences: ToSequences | None = None,
        *,
        objective: str | Objective = "published",
        steps: int | None = None,
        extension: int | None = None,
        lr: float = 1e-2,
        batch_size: int = 32,
        epsilon: float | None = None,
        target: float | None = None,
        max_stabilization: int | None = None,
        stabilization_ramp: int | None = None,
        rest_weight: float | None = None,
        holding_inputs: Tensor | None = None,
        leaky: bool = False,
        regularize: float | None = None,
        seed: int = 0,
    ) -> None:
        plan = make_plan(
            objective,
            steps=steps,
            extension=extension,
            lr=lr,
            leaky=leaky,
            seed=seed,
            epsilon=epsilon,
            target=target,
            max_stabilization=max_stabilization,
            stabilization_ramp=stabilization_ramp,
            rest_weight=rest_weight,
            holding_inputs=holding_inputs,
        )
        super().__init__(network, sequences, batch_size, plan)
        aim = plan.objective
        self.regularizer = Regularizer(aim, aim.regularize if regularize is None else regularize, seed)
        self.result: WarmupResult | None = None
        self._batch: Any = None
        self._watch: RemovableHandle | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the holding inputs of the datamodule, and run the stage."""
        held = getattr(trainer.datamodule, "holding_inputs", None)  # type: ignore[attr-defined]
        if held is not None:
            aim = self.plan.objective.that_holds_under(held)
            self.plan = replace(self.plan, objective=aim)
            self.regularizer = replace(self.regularizer, objective=aim)
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is kept in training, and whether gradients are clipped, without which it can fail."""
        if self.regularizer.weight > 0:
            text = f"Warmup: regularize={self.regularizer.weight:g}, its objective is kept in training"
            if not trainer.gradient_clip_val:
                text += "; gradients are not clipped and may grow: try gradient_clip_val=0.1"
            rank_zero_info(text)

    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Iterator[WarmupStep]:
        """Warm the network up."""
        warmup = Warmup(rnn, batches, self.plan)
        yield from warmup
        self.result = warmup.result

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hold a batch that the objective takes part in, or what the network is given in its training step."""
        self._let_go()
        if not self.regularizer.takes_part(trainer.global_step):
            return
        if self.sequences is None:
            self._watch = watch(find_network(pl_module, self.network), self._hold)
        else:
            self._batch = batch

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the gradient of the objective to that of the training loss."""
        if self._batch is None:
            return
        rnn = find_network(pl_module, self.network)
        if not any(parameter.requires_grad for parameter in rnn.parameters()):
            return  # it is the turn of another optimizer, which the module switches the network off for
        if self.sequences is None:
            sequences, lengths = as_sequences(rnn, self._batch)
            batch_dim, rows = 0 if batch_first(rnn) else 1, self.batch_size // world_size()
            rows = min(rows, sequences.shape[batch_dim])
            batch = sequences.narrow(batch_dim, 0, rows), None if lengths is None else lengths[:rows]
        else:
            batch = sequences_of(trainer, pl_module, rnn, self.sequences, self._batch)
        # At half precision the gradients of the training are scaled.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler else 1.0
        self.regularizer.add_gradient(rnn, batch, trainer.global_step, trainer.accumulate_grad_batches, scale)
        self._batch = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave nothing behind."""
        self._let_go()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave nothing behind."""
        self._let_go()

    def _hold(self, input: Any) -> None:
        """Hold what the network is given first."""
        self._let_go()
        self._batch = input

    def _let_go(self) -> None:
        """Hold no batch, and watch the network no longer."""
        self._batch = None
        if self._watch is not None:
            self._watch.remove()
            self._watch = None

    def summary(self) -> dict[str, Any]:
        """Return the settings that were used and what the warmup has reached."""
        aim, plan = self.plan.objective, self.plan
        own = {field.name: getattr(aim, field.name) for field in fields(aim) if field.init and field.repr}
        used = {
            "steps": plan.steps,
            "extension": plan.extension,
            "lr": plan.lr,
            **own,
            "regularize": self.regularizer.weight,
        }
        if self.result is None:
            return used
        reached = asdict(self.result)
        del reached["history"]
        return used | {"steps_taken": len(self.result), **reached}

    def outcome(self) -> str | None:
        """Return what the warmup has reached, and what to try where it missed its goal."""
        result, objective = self.result, self.plan.objective
        if result is None:
            return None
        figures = {"vaa": ("VAA", result.vaa), "resting_vaa": ("resting VAA", result.resting_vaa)}
        text = ", ".join(
            f"{words} {value:.2f}" + f" (goal {objective.goal})" * (name == objective.figure)
            for name, (words, value) in figures.items()
        )
        text += f" at M = {result.settle_steps:,} after {len(result)} steps"
        if result.attempts > 1:
            text += f" in {result.attempts} attempts"
        if result.kept == 0:
            text += ", which made it no better: the weights are those from before"
        if not result.trainable:
            text += (
                f"; it forgets sequences before they end (retained {result.retained:.0e}) and may not learn"
            )
        asked = self.plan.steps
        return text + ("" if result.goal_reached else f"; try steps={3 * asked}, now {asked}")
