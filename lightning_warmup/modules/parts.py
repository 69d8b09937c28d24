"""A LightningModule made from its parts: a network, and a function that makes its optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_warmup._compat import training_loader
from lightning_warmup.networks import RecurrentNetwork

MakeOptimizer = Callable[[Iterator[nn.Parameter], float], Any]
"""A function from the parameters and the number of training steps (infinite if the training has no end) to a torch
optimiser, or to Lightning's dict of an optimiser and its ``lr_scheduler``."""


def adam(parameters: Iterator[nn.Parameter], total_steps: float) -> torch.optim.Optimizer:
    """Return Adam with a learning rate of 0.001."""
    return torch.optim.Adam(parameters, lr=1e-3)


class NetworkModule(LightningModule):
    """Holds the network and its optimiser, and saves what a checkpoint needs to make the network again.

    A checkpoint holds plain values only: the arguments of a :class:`RecurrentNetwork` and ``hyperparameters``.
    ``load_from_checkpoint(path)`` is enough to load it; for a network of your own, call
    ``load_from_checkpoint(path, network=network)``.

    Args:
        network: A :class:`RecurrentNetwork` with ``batch_first``, the dict of its arguments, or a module that is
            called in the same way.
        optimizer: Makes the optimiser, see :data:`MakeOptimizer`.
        hyperparameters: The other arguments of the subclass, plain values.

    Attributes:
        network: The network that is warmed up and trained.
        monitor: The metric that selects the best checkpoint, and ``"min"`` or ``"max"``. A plateau schedule follows
            it too.
        may_differ: Hyperparameters, including those of the network, that may change on resume. All others define
            the network.

    Raises:
        ValueError: If the network is missing or not batch first, or as :class:`RecurrentNetwork`.
    """

    monitor: tuple[str, str]
    may_differ: ClassVar[frozenset[str]] = RecurrentNetwork.may_differ

    def __init__(
        self, network: nn.Module | dict[str, Any] | None, optimizer: MakeOptimizer, **hyperparameters: Any
    ) -> None:
        super().__init__()
        if network is None:
            raise ValueError("network=None: must be given, a checkpoint does not hold a network of your own")
        if isinstance(network, dict):
            network = RecurrentNetwork(**{**network, "batch_first": True})
        if not getattr(network, "batch_first", True):
            raise ValueError("network: must have batch_first=True, batches are (B, T, I)")
        self.network, self.make_optimizer = network, optimizer
        arguments = getattr(network, "arguments", None)
        self.save_hyperparameters({"network": arguments, **hyperparameters}, logger=False)

    def trivial_loss(self, datamodule: Any) -> float | None:
        """Return the loss of a network that has learnt nothing, None if there is no such number."""
        return datamodule.trivial_loss

    def configure_optimizers(self) -> Any:
        parameters = (parameter for parameter in self.parameters() if parameter.requires_grad)
        made = self.make_optimizer(parameters, training_steps(self.trainer))
        schedule = made.get("lr_scheduler") if isinstance(made, dict) else None
        if isinstance(schedule, ReduceLROnPlateau):
            schedule = {"scheduler": schedule}
        if isinstance(schedule, dict):  # Lightning wants to know which metric a plateau is of
            made = made | {"lr_scheduler": {"monitor": self.monitor[0], **schedule}}
        return made

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step every schedule but a plateau schedule.

        Lightning steps that one after the last checkpoint of an epoch, so a resumed run would miss the step.
        """
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_end(self) -> None:
        """Step a plateau schedule."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            for config in self.trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, ReduceLROnPlateau):
                    config.scheduler.step(self.trainer.callback_metrics[str(config.monitor)])


def training_steps(trainer: Trainer) -> float:
    """Return the number of steps of a training, infinite if it has no end.

    Lightning's ``estimated_stepping_batches`` does not work here: it loads the training data before a resumed run
    has restored its position in them.
    """
    batches, epochs = max(training_loader(trainer).limits or [0]), trainer.max_epochs
    steps = math.inf
    if batches < math.inf and epochs is not None and epochs >= 0:
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * epochs
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
