"""Private names of torch and Lightning that are still needed, one function each."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer


def functorch_active() -> bool:
    """Return whether a transform of ``torch.func`` is running.

    Why: the engine's and torch's fused backward passes have no rule for it. Read in torch 2.13.
    """
    return torch._C._are_functorch_transforms_active()


def training_data(trainer: Trainer) -> Any:
    """Return what a fit takes its training batches from, as the user gave it.

    A callback needs it before the first epoch, but ``trainer.train_dataloader`` is None until then
    (Lightning 2.6.6, ``_FitLoop._data_source``).
    """
    return trainer.fit_loop._data_source.dataloader()
