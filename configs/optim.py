"""The settings of the training."""

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
"""The classes in torch.optim."""


class Optim(Settings):
    """The training."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "radam"] = "adam"
    """Optimiser, one of torch.optim with its own defaults."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate, the greatest of a schedule."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of the optimiser."""
    schedule: Literal["none", "cosine", "one_cycle", "plateau"] = "none"
    """How the learning rate changes: not at all, along a cosine to 0, in one cycle of torch's OneCycleLR, or to a
    tenth after more than 10 validations in a row without an improvement."""
    rise_steps: int = Field(0, ge=0)
    """Training steps in which the learning rate rises at first; with one_cycle 0 = 30% of all steps."""
    patience: int | None = Field(None, ge=1)
    """Validations without an improvement after which training stops; null = never."""
    min_delta: float = Field(0.0, ge=0)
    """Change of the validation that counts as an improvement."""

    @model_validator(mode="after")
    def _check_that_one_schedule_sets_the_rate(self) -> Optim:
        if self.rise_steps and self.schedule == "plateau":
            raise ConfigError(f"optim.rise_steps={self.rise_steps}: must be 0 with optim.schedule=plateau")
        return self

    def make(self, parameters: Iterable[Any], total_steps: float, mode: Literal["min", "max"] = "min") -> Any:
        """Return the optimiser of parameters, with its schedule in Lightning's dict if there is one.

        Args:
            parameters: What is trained.
            total_steps: Steps of the training, infinite if it has no end.
            mode: Whether the least or the greatest value of the monitored metric is best.

        Raises:
            ValueError: If the schedule needs a training of more steps.
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
                f"optim.schedule={self.schedule}: the training must end, after more than optim.rise_steps="
                f"{self.rise_steps} steps; it has {total_steps:g}"
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
        """Return the share of the learning rate after so many steps."""
        if step < self.rise_steps:
            return (step + 1) / self.rise_steps
        if self.schedule == "none":
            return 1.0
        done = (step - self.rise_steps) / (total_steps - self.rise_steps)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2
