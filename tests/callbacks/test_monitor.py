"""The monitor, and those who follow it."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch.callbacks import EarlyStopping
from stranger import Stranger, loader, trainer

from lightning_warmup.callbacks.monitor import MultistabilityMonitor


def test_early_stopping_can_follow_the_monitor(tmp_path: Path) -> None:
    monitor = MultistabilityMonitor(steps=20, count=16)
    # The VAA cannot exceed 1: no epoch improves on the first one by so much.
    stop = EarlyStopping(
        "monitor_M20/vaa", min_delta=2, patience=1, mode="max", check_on_train_epoch_end=True
    )
    fit = trainer(tmp_path, monitor, stop, max_epochs=10)
    torch.manual_seed(0)
    fit.fit(Stranger(), loader())
    assert fit.current_epoch == 2
    assert {name.removeprefix("monitor_M20/") for name in fit.callback_metrics if "monitor" in name} >= {
        "vaa",
        "resting_vaa",
        "resting_fraction",
        "residual",
        "places_layer_1",
    }
