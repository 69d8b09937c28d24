"""The monitor, and those who follow it."""

from __future__ import annotations

from pathlib import Path

import torch
from benchmark import benchmark
from lightning.pytorch.callbacks import EarlyStopping
from stranger import Stranger, loader, trainer

from lightning_warmup.callbacks.monitor import MultistabilityMonitor
from lightning_warmup.modules.sequence import SequenceModule


def test_fewer_sequences_than_it_asks_for_will_do(tmp_path: Path) -> None:
    data = benchmark("copy_first_input", seq_length=5, train_size=20, val_size=1, test_size=1)
    monitor = MultistabilityMonitor(steps=20)
    module = SequenceModule({"input_size": 1, "hidden_size": 4, "output_size": 1, "num_layers": 2})
    fit = trainer(tmp_path, monitor, use_distributed_sampler=False)
    fit.fit(module, data)
    assert 0 < float(fit.callback_metrics["monitor_M20/vaa"]) <= 1


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
