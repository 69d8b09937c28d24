"""Modules of others whose network is a cell of one step, or a layer with states of another shape than torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from stranger import loader, trainer
from torch import Tensor, nn

from lightning_warmup import WarmupStage, multistability


class Loop(LightningModule):
    """Runs a cell step by step."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell, self.head = kind(1, 24), nn.Linear(24, 1)  # type: ignore[call-arg]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        sequences, targets = batch
        state: Any = None
        for step in sequences.unbind(1):
            state = self.cell(step, state)
        return nn.functional.mse_loss(self.head(state[0] if isinstance(state, tuple) else state), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


class Flat(nn.Module):
    """A layer whose state is ``(B, H)``."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_first = True
        self.layer = nn.GRU(1, 24, batch_first=True)

    def forward(self, input: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, state = self.layer(input, None if state is None else state.unsqueeze(0))
        return output, state.squeeze(0)


class Nested(nn.Module):
    """A layer whose state is ``(h, (c,))``."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, 24)

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        output, (h, c) = self.layer(input, None if state is None else (state[0], *state[1]))
        return output, (h, (c,))


class Held(LightningModule):
    """Gives a layer of its own kind what the batches hold."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.core = layer

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        sequences = batch[0] if getattr(self.core, "batch_first", False) else batch[0].transpose(0, 1)
        return self.core(sequences)[0].square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


# What the warmup is for is seen at M = 100 already; torch's plain cell alone needs the defaults.
QUICK: dict[str, Any] = {"steps": 80, "extension": 1, "max_stabilization": 80}


def vaa_before_and_after(
    module: LightningModule, rnn: nn.Module, stage: WarmupStage, folder: Path
) -> list[float]:
    sequences = torch.randn(20, 64, 1, generator=torch.Generator().manual_seed(1))
    if getattr(rnn, "batch_first", False):
        sequences = sequences.transpose(0, 1)
    before = multistability(rnn, sequences, steps=100, draws=1).vaa
    trainer(folder, stage, max_steps=0).fit(module, loader())
    return [before, multistability(rnn, sequences, steps=100, draws=1).vaa]


@pytest.mark.parametrize(("kind", "settings"), [(nn.GRUCell, QUICK), (nn.LSTMCell, QUICK), (nn.RNNCell, {})])
def test_a_cell_in_a_loop(tmp_path: Path, kind: type[nn.RNNCellBase], settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = Loop(kind)
    stage = WarmupStage(sequences=lambda batch: batch[0].transpose(0, 1), **settings)
    before, after = vaa_before_and_after(module, module.cell, stage, tmp_path)
    assert before < 0.1
    assert after > 0.5


@pytest.mark.parametrize("layer", [Flat, Nested])
def test_a_layer_with_states_of_its_own_shape(tmp_path: Path, layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = Held(layer())
    before, after = vaa_before_and_after(module, module.core, WarmupStage("core", **QUICK), tmp_path)
    assert before < 0.1
    assert after > 0.5
