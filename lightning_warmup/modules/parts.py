"""A LightningModule that is handed its parts: a network, and a function that makes its optimiser."""

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
"""A function from parameters and the number of training steps, infinite if the training has no end, to a torch
optimiser or to Lightning's dict of an optimiser and its ``lr_scheduler``."""


def adam(parameters: Iterator[nn.Parameter], total_steps: float) -> torch.optim.Optimizer:
    """Return Adam with a learning rate of 0.001."""
    return torch.optim.Adam(parameters, lr=1e-3)


class NetworkModule(LightningModule):
    """Holds the network that is trained, and what its checkpoint has to know of it.

    The checkpoint holds plain values only: the arguments of a :class:`RecurrentNetwork` and ``hyperparameters``. It
    is loaded without them, by ``load_from_checkpoint(path)``; the checkpoint of a network of one's own needs
    ``load_from_checkpoint(path, network=network)``.

    Args:
        network: A :class:`RecurrentNetwork` with ``batch_first``, the dict of its arguments, or a module with its
            call.
        optimizer: Makes the optimiser, see :data:`MakeOptimizer`.
        hyperparameters: The other arguments of the subclass, plain values.

    Attributes:
        network: What is trained, and warmed up.
        monitor: The metric that tells the best checkpoint, and whether its least or greatest value is best. A
            schedule that waits for a plateau follows it from validation to validation.
        may_differ: Hyperparameters that may change when a run is resumed, those of the network among them: all
            others say which network it is.

    Raises:
        ValueError: If the network is not given or not batch first, or as :class:`RecurrentNetwork`.
    """

    monitor: tuple[str, str]
    may_differ: ClassVar[frozenset[str]] = RecurrentNetwork.may_differ

    def __init__(
        self, network: nn.Module | dict[str, Any] | None, optimizer: MakeOptimizer, **hyperparameters: Any
    ) -> None:
        super().__init__()
        if network is None:
            raise ValueError(
                "network=None: must be given, the checkpoint does not hold a network of your own"
            )
        if isinstance(network, dict):
            network = RecurrentNetwork(**{**network, "batch_first": True})
        if not getattr(network, "batch_first", True):
            raise ValueError("network: must have batch_first=True, batches are (B, T, I)")
        self.network, self.make_optimizer = network, optimizer
        arguments = getattr(network, "arguments", None)
        self.save_hyperparameters({"network": arguments, **hyperparameters}, logger=False)

    def trivial_loss(self, datamodule: Any) -> float | None:
        """Return the loss that a network reaches without having learnt anything, None if that means nothing."""
        return datamodule.trivial_loss

    def configure_optimizers(self) -> Any:
        parameters = (parameter for parameter in self.parameters() if parameter.requires_grad)
        made = self.make_optimizer(parameters, training_steps(self.trainer))
        schedule = made.get("lr_scheduler") if isinstance(made, dict) else None
        if isinstance(schedule, ReduceLROnPlateau):
            schedule = {"scheduler": schedule}
        if isinstance(schedule, dict):  # Lightning asks what a plateau is one of
            made = made | {"lr_scheduler": {"monitor": self.monitor[0], **schedule}}
        return made

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a schedule, but for one that waits for a plateau.

        Lightning steps that one after the last checkpoint of an epoch, from which a run could not go on exactly.
        """
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_end(self) -> None:
        """Step a schedule that waits for a plateau."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            for config in self.trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, ReduceLROnPlateau):
                    config.scheduler.step(self.trainer.callback_metrics[str(config.monitor)])


def training_steps(trainer: Trainer) -> float:
    """Return the number of steps that a training takes, infinite if it has no end.

    Lightning's ``estimated_stepping_batches`` won't do: it loads the training data before a run that is resumed has
    restored where it was in them.
    """
    batches, epochs = max(training_loader(trainer).limits or [0]), trainer.max_epochs
    steps = math.inf
    if batches < math.inf and epochs is not None and epochs >= 0:
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * epochs
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
