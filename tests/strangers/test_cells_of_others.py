"""Modules of others whose network is a cell of one step, or a layer with states of another shape than torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from stranger import loader, trainer
from torch import Tensor, nn

from lightning_warmup import Published, SideMemory, WarmupStage, multistability


class Whole(LightningModule):
    """Gives its network whole sequences."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(24, 1)

    def last(self, sequences: Tensor) -> Tensor:
        if not getattr(self.rnn, "batch_first", False):
            return self.rnn(sequences.transpose(0, 1))[0][-1]
        return self.rnn(sequences)[0][:, -1]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.head(self.last(batch[0])), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


class Loop(Whole):
    """Runs a cell step by step."""

    def last(self, sequences: Tensor) -> Tensor:
        state: Any = None
        for step in sequences.unbind(1):
            state = self.rnn(step, state)
        return state[0] if isinstance(state, tuple) else state


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


# Enough at M = 30, with a VAA above .95 for each of four seeds.
QUICK: dict[str, Any] = {"objective": Published(steps=60, extension=1, max_stabilization=40)}


def steps_first(batch: list[Tensor]) -> Tensor:
    return batch[0].transpose(0, 1)


@pytest.mark.parametrize(
    ("make", "stage"),
    [
        (lambda: Loop(nn.GRUCell(1, 24)), lambda: WarmupStage(sequences=steps_first, **QUICK)),
        (lambda: Loop(nn.LSTMCell(1, 24)), lambda: WarmupStage(sequences=steps_first, **QUICK)),
        (lambda: Loop(nn.RNNCell(1, 24)), lambda: WarmupStage(sequences=steps_first, **QUICK)),
        (lambda: Whole(Flat()), lambda: WarmupStage("rnn", **QUICK)),
        (lambda: Whole(Nested()), lambda: WarmupStage("rnn", **QUICK)),
        (lambda: Whole(SideMemory("gru", 1, 24, batch_first=True)), lambda: WarmupStage(**QUICK)),
    ],
    ids=["GRUCell", "LSTMCell", "RNNCell", "flat", "nested", "side memory"],
)
def test_one_line_gives_it_many_equilibria(tmp_path: Path, make: Any, stage: Any) -> None:
    torch.manual_seed(0)
    module = make()
    sequences = torch.randn(20, 64, 1, generator=torch.Generator().manual_seed(1))
    if getattr(module.rnn, "batch_first", False):
        sequences = sequences.transpose(0, 1)
    before = multistability(module.rnn, sequences, steps=30)
    trainer(tmp_path, stage(), max_steps=0).fit(module, loader())
    after = multistability(module.rnn, sequences, steps=30)
    assert before.vaa < 0.1
    assert after.vaa > 0.5
