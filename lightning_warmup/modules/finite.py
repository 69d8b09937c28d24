"""Ends a training whose loss is no longer finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule
from torch import Tensor


class TrainingDiverged(RuntimeError):
    """The training loss is no longer finite."""


def check_finite(loss: Tensor, module: LightningModule, data: Sequence[Tensor] = ()) -> None:
    """Check the loss of a batch.

    Args:
        loss: The loss.
        module: What is trained.
        data: What the loss was computed from.

    Raises:
        ValueError: If the loss is not finite because the data are not.
        TrainingDiverged: If it is not finite in spite of them, with the step and the learning rate.
    """
    if torch.isfinite(loss):
        return
    if not all(bool(torch.isfinite(tensor).all()) for tensor in data):
        raise ValueError(f"data: NaN or infinite values in a batch, at step {module.global_step}")
    raise TrainingDiverged(
        f"training diverged at step {module.global_step} with lr={module.lr}: loss {loss.item():g}; "
        "a smaller lr or trainer.gradient_clip_val may help"
    )
