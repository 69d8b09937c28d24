"""Private names of torch and Lightning that the library needs, one function each."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors.data_connector import (
    _parse_num_batches,
    _process_dataloader,
    _request_dataloader,
    _resolve_overfit_batches,
)
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader


def functorch_active() -> bool:
    """Return whether a transform of ``torch.func`` is running (torch 2.13).

    The engine and torch's fused kernels have no rule for it.
    """
    return torch._C._are_functorch_transforms_active()


def call_hooks(module: nn.Module) -> list[Callable[..., Any]]:
    """Return the forward hooks of a module, which torch registers but does not list (torch 2.13)."""
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def uncompiled(module: Any) -> Any:
    """Return the module that ``torch.compile`` was given, or the argument itself (torch 2.13)."""
    return getattr(module, "_orig_mod", module)


def training_loader(trainer: Trainer) -> CombinedLoader:
    """Return a loader of the training data, made as the fit makes its own; that one stays untouched.

    A callback needs it before the first epoch, when ``trainer.train_dataloader`` is still None. Loaders are copied,
    because the fit may already iterate them with persistent workers (Lightning 2.6.6, ``_FitLoop.setup_data``;
    torch 2.13, ``DataLoader._iterator``).
    """
    data = _request_dataloader(trainer.fit_loop._data_source)
    loader = copy(data) if isinstance(data, CombinedLoader) else CombinedLoader(data, "max_size_cycle")
    if trainer.overfit_batches > 0:  # type: ignore[attr-defined]
        _resolve_overfit_batches(loader, RunningStage.TRAINING)
    parts = [
        _process_dataloader(trainer, TrainerFn.FITTING, RunningStage.TRAINING, p) for p in loader.flattened
    ]
    loader.flattened = [copy(part) if hasattr(part, "__len__") else part for part in parts]
    for part in loader.flattened:
        if isinstance(part, DataLoader):
            part._iterator = None
    lengths = [math.inf if (length := sized_len(part)) is None else length for part in loader.flattened]
    limit = trainer.limit_train_batches
    loader.limits = [_parse_num_batches(RunningStage.TRAINING, length, limit) for length in lengths]
    return loader


def on_device(trainer: Trainer, batch: Any) -> Any:
    """Return a batch as the training step receives it (Lightning 2.6.6, ``_TrainingEpochLoop.advance``)."""
    module = trainer.lightning_module
    batch = trainer.precision_plugin.convert_input(batch)
    batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
    return trainer.strategy.batch_to_device(batch, module.device, dataloader_idx=0)
