"""The warmup as a stage of a Lightning fit."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_warmup.callbacks.batches import ToSequences, sequences_of
from lightning_warmup.callbacks.silence import memory_in_use, memory_misread
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.callbacks.unchanged import own_random_streams, unchanged
from lightning_warmup.distributed import fewest, gather_batch, world_size
from lightning_warmup.dynamics.horizon import memory_horizon
from lightning_warmup.dynamics.spans import Spans
from lightning_warmup.networks.find import find_network
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.layout import time_first
from lightning_warmup.networks.mode import in_mode
from lightning_warmup.networks.observed import NoSequences, as_sequences, watch
from lightning_warmup.procedures import require
from lightning_warmup.procedures.objectives import Objective, make_objective
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.regularize import add_gradient, takes_part
from lightning_warmup.procedures.result import WarmupResult, WarmupStep
from lightning_warmup.procedures.sequences import Batch
from lightning_warmup.procedures.warmup import warmup_steps

INACTIVE = (
    "its objective did not act in the training step: call self.manual_backward(loss), not loss.backward()"
)


class WarmupStage(Stage):
    """Warms up the recurrent network of a LightningModule when a fit starts.

    It is a :class:`lightning_warmup.callbacks.stage.Stage` and logs ``warmup/*``. If the objective has
    ``regularize`` above 0, it also acts in every fourth step of the training: on the first ``batch_size`` sequences
    of the network's input, or on all that the function ``sequences`` returns.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: A function from ``batch`` or ``(batch, module)`` to sequences or ``(sequences, lengths)``; by
            default, the input of the network in the training step, see
            :class:`lightning_warmup.callbacks.stage.Stage`.
        objective: ``"published"``, ``"rest"``, or an objective with its settings, such as
            ``Published(extension=1)`` or ``Rest(epsilon=1e-3)``.
        steps: Number of gradient steps. By default the objective decides: 100, or at most 900 with ``"rest"``. A
            missed goal can add more, see ``extension`` of the objective.
        lr: Learning rate of the warmup, which has its own Adam.
        batch_size: Sequences per step, over all processes.
        holding_inputs: Inputs ``(K, I)`` under which the network must hold its memory, for ``"rest"``; by default
            ``holding_inputs`` of the datamodule, or else any step of the sequences.
        leaky: Whether a partial warmup also changes the frozen half of all layers but the last, as the authors'
            code does.
        seed: Seed of the order of the sequences, the cuts, the stabilisations and the constant inputs.

    Attributes:
        result: The result of the warmup; None before it, and in a process that starts others for the fit, as with
            ``ddp_spawn``.
        memory: How many steps the network remembered before and after the warmup; None before it.

    Raises:
        ValueError: If an argument is out of range; at the start of the fit, if the network is not found.
        WarmupDiverged: If the loss, a gradient or a weight of the warmup is not finite.

    Examples:
        ``trainer = Trainer(callbacks=[WarmupStage(steps=100)])``
    """

    name, shown = "warmup", {"VAA*": "vaa_star", "constant steps": "stabilization"}

    def __init__(
        self,
        network: str | None = None,
        sequences: ToSequences | None = None,
        *,
        objective: str | Objective = "published",
        steps: int | None = None,
        lr: float = 1e-2,
        batch_size: int = 32,
        holding_inputs: Tensor | None = None,
        leaky: bool = False,
        seed: int = 0,
    ) -> None:
        aim = make_objective(objective, steps)
        super().__init__(network, sequences, batch_size, aim.steps, seed)
        require("batch_size", batch_size, batch_size >= 2, "at least 2, so that states can differ")
        self.plan = WarmupPlan(aim, lr, leaky, seed, holding_inputs)
        self._given = holding_inputs
        self.result: WarmupResult | None = None
        self.memory: tuple[Spans, Spans] | None = None
        self._length = 0  # of the sequences, in steps
        self._batch: Any = None
        self._watch: RemovableHandle | None = None
        self._due = False  # whether the objective has yet to act in this step
        self._look = False  # whether the next gradients tell if the loss reads a memory's outputs
        self._step = 0  # of the training, when the batch began
        self._told = False  # that the objective could not act

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the holding inputs of the datamodule, and run the stage."""
        held = getattr(trainer.datamodule, "holding_inputs", None)  # type: ignore[attr-defined]
        if self.plan.objective.together:
            self.plan = replace(self.plan, holding_inputs=held if self._given is None else self._given)
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print whether the objective stays active, and advise clipping: without it, training can fail."""
        if (weight := self.plan.objective.regularize) > 0:
            text = f"regularize={weight:g}, its objective stays active in training"
            if not trainer.gradient_clip_val:
                text += "; gradients are not clipped and may grow: try gradient_clip_val=0.1"
            self._say(text)

    def run(self, rnn: nn.Module, batches: Iterator[Batch]) -> Generator[WarmupStep]:
        """Warm up the network; before and after, measure on the first batch how many steps it remembers."""
        if (use := memory_in_use(rnn)) is not None:
            self._say(use)
        first = next(batches)
        before = _memory(rnn, first)
        self.result = yield from warmup_steps(rnn, chain([first], batches), self.plan)
        self.memory = before, _memory(rnn, first)
        self._length = len(first[0])
        self._look = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """In a step in which the objective acts, keep the batch or the input of the network."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._let_go()
        self._step = trainer.global_step
        self._due = takes_part(self.plan, trainer.global_step)
        if not self._due:
            return
        if self.sequences is None:
            self._watch = watch(find_network(pl_module, self.network), self._hold)
        else:
            self._batch = batch

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say if the loss reads no outputs of a memory; add the gradient of the objective to that of the loss."""
        if self._look:
            self._look = False
            if (misread := memory_misread(find_network(pl_module, self.network))) is not None:
                self._say(misread)
        if not self._due:
            return
        rnn = find_network(pl_module, self.network)
        if not any(parameter.requires_grad for parameter in rnn.parameters()):
            return  # another optimizer's turn: the module has switched the network off
        with own_random_streams():
            batch = None if self._batch is None else self._present_batch(trainer, pl_module, rnn)
            self._batch = None
            # A process whose step does not call the network says so, and does not leave the others waiting.
            if fewest(0 if batch is None else 1, pl_module.device) == 0 or batch is None:
                return
            self._due = False
            # At half precision, the training scales its gradients.
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            scale = scaler.get_scale() if scaler else 1.0
            accumulated = trainer.accumulate_grad_batches
            add_gradient(self.plan, rnn, gather_batch(batch), trainer.global_step, accumulated, scale)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say once if an optimizer has made a step in which the objective could not act."""
        stepped = trainer.global_step > self._step and not pl_module.automatic_optimization
        if stepped and self._batch is not None and not self._told:
            self._told = True
            self._say(INACTIVE)

    def _present_batch(self, trainer: Trainer, module: LightningModule, rnn: nn.Module) -> Batch | None:
        """Return the sequences of the kept batch, or None if they have a single step."""
        if self.sequences is not None:
            with unchanged([module, self.sequences], but=rnn):
                return sequences_of(trainer, module, rnn, self.sequences, self._batch)
        try:
            sequences, lengths = as_sequences(rnn, self._batch)
        except NoSequences:
            return None
        rows = self.batch_size // world_size()
        return time_first(rnn, sequences)[:, :rows], None if lengths is None else lengths[:rows]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the batch and stop watching the network."""
        self._let_go()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Drop the batch and stop watching the network."""
        self._let_go()

    def _hold(self, input: Any) -> None:
        """Keep the first input of the network."""
        self._let_go()
        self._batch = input

    def _let_go(self) -> None:
        """Drop the batch and stop watching the network."""
        self._batch = None
        if self._watch is not None:
            self._watch.remove()
            self._watch = None

    def summary(self) -> dict[str, Any]:
        """Return the settings and the result of the warmup."""
        used = dict(self.plan.objective) | {"lr": self.plan.lr}
        if self.result is None:
            return used
        reached = asdict(self.result)
        del reached["history"]
        return used | {"steps_taken": len(self.result), **reached}

    def outcome(self) -> str | None:
        """Return the result of the warmup, and what to try if it missed its goal."""
        result, objective = self.result, self.plan.objective
        if result is None:
            return None
        text = result.in_words(objective)
        if self.memory is not None:
            before, after = self.memory
            text = f"memory: {before} -> {after}; your sequences: {self._length:,}. {text}"
        asked = objective.steps
        return text + ("" if result.goal_reached else f"; try steps={3 * asked} instead of {asked}")


def _memory(rnn: nn.Module, batch: Batch) -> Spans:
    """Return how many steps a network remembers the sequences of a batch."""
    with in_mode(rnn, training=False):
        return memory_horizon(layers_of(rnn), *batch, gradient_limit=1).forward  # its gradient is not told
