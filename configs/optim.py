"""The settings of the optimiser, its schedule, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, model_validator

from configs.values import ConfigError
from lightning_warmup.settings import Settings

CLASSES = {
    "adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "nadam": "NAdam", "radam": "RAdam",
}  # fmt: skip
"""The classes of torch.optim by their names in the configuration."""


class Optim(Settings):
    """Optimiser, schedule and early stopping of the training."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "radam"] = "adam"
    """Optimiser from torch.optim, with its defaults there."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate; with a schedule, its highest value."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of the optimiser."""
    schedule: Literal["none", "cosine", "one_cycle", "plateau"] = "none"
    """How the learning rate changes: not at all, along a cosine to 0, in one cycle of torch's OneCycleLR, or to a
    tenth after more than 10 validations in a row without an improvement."""
    rise_steps: int = Field(0, ge=0)
    """Training steps in which the learning rate first rises linearly; with one_cycle, 0 = 30% of all steps."""
    patience: int | None = Field(None, ge=1)
    """Stop the training after so many validations without improvement; null = never."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change of the validation metric that counts as improvement."""

    @model_validator(mode="after")
    def _check_single_schedule(self) -> Optim:
        if self.rise_steps and self.schedule == "plateau":
            raise ConfigError(f"optim.rise_steps={self.rise_steps}: must be 0 with optim.schedule=plateau")
        return self

    def make(self, parameters: Iterable[Any], total_steps: float, mode: Literal["min", "max"] = "min") -> Any:
        """Return a torch optimiser; with a schedule, Lightning's dict of both.

        Args:
            parameters: The parameters to train.
            total_steps: Number of training steps, infinite if the training has no end.
            mode: Whether the monitored metric is better if it is lower or higher.

        Raises:
            ValueError: If the training is too short for the schedule, or has no end.
        """
        from torch import optim

        optimizer = getattr(optim, CLASSES[self.name])(parameters, lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "plateau":
            waits = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": waits}}
        if self.schedule == "none" and not self.rise_steps:
            return optimizer
        ends = self.schedule != "none"
        if ends and not self.rise_steps < total_steps < float("inf"):
            raise ValueError(
                f"optim.schedule={self.schedule}: needs a finite training of more than optim.rise_steps="
                f"{self.rise_steps} steps, this one has {total_steps:g}"
            )
        if self.schedule == "one_cycle":
            share = self.rise_steps / total_steps or 0.3
            schedule: Any = optim.lr_scheduler.OneCycleLR(
                optimizer, self.lr, int(total_steps), pct_start=share
            )
        else:
            schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._factor(step, total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _factor(self, step: int, total_steps: float) -> float:
        """Return the factor of the learning rate at a step."""
        if step < self.rise_steps:
            return (step + 1) / self.rise_steps
        if self.schedule == "none":
            return 1.0
        done = (step - self.rise_steps) / (total_steps - self.rise_steps)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2
