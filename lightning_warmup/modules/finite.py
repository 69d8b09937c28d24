"""Ends a training if its loss is no longer finite."""

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule
from torch import Tensor


class TrainingDiverged(RuntimeError):
    """The training loss is no longer finite."""


def check_finite(loss: Tensor, module: LightningModule, data: Sequence[Tensor] = ()) -> None:
    """Raise TrainingDiverged if a loss is not finite, or ValueError if that is because the data are not."""
    if torch.isfinite(loss):
        return
    if not all(tensor.isfinite().all() for tensor in data):
        raise ValueError(f"data: NaN or infinite values in a batch, at step {module.global_step}")
    rates = [group["lr"] for optimizer in module.trainer.optimizers for group in optimizer.param_groups]
    rate = f" with lr={rates[0]:g}" if rates else ""
    raise TrainingDiverged(
        f"training diverged at step {module.global_step}{rate}: loss {loss.item():g}; "
        "a smaller lr or trainer.gradient_clip_val may help"
    )
