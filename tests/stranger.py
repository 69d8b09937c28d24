"""A small project that knows nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Stranger(LightningModule):
    """Copies the first input with torch's LSTM, as anybody would write it."""

    def __init__(self, layers: int = 1, hidden: int = 12, with_loader: bool = False) -> None:
        super().__init__()
        self.rnn = nn.LSTM(1, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.seen: list[float] = []
        if with_loader:
            self.train_dataloader = loader  # type: ignore[method-assign]

    def on_train_start(self) -> None:
        self.seen.clear()  # of what a callback has looked at before

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        sequences, targets = batch
        self.seen.append(float(sequences.sum()))
        return nn.functional.mse_loss(self.head(self.rnn(sequences)[0][:, -1]), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


class StrangersData(LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return loader()


def loader() -> DataLoader[Any]:
    sequences = torch.randn(64, 20, 1, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(sequences, sequences[:, 0]), batch_size=16, shuffle=True)


def trainer(folder: Path, *callbacks: Any, **arguments: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder,
    }  # fmt: skip
    return Trainer(callbacks=list(callbacks), **(defaults | arguments))
