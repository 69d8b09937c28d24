"""The settings of the training."""

from __future__ import annotations

from pydantic import Field

from lightning_warmup.settings import Settings


class Optim(Settings):
    """The training."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam."""
    patience: int | None = Field(None, ge=1)
    """Validations without an improvement after which training stops; null = never."""
    min_delta: float = Field(0.0, ge=0)
    """Change of the validation that counts as an improvement."""
