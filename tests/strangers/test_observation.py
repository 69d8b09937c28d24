"""Modules of others whose batches are no sequences: the stage takes what the network is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger
from stranger import trainer
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader

from lightning_warmup import MultistabilityMonitor, PretrainStage, Published, WarmupStage
from lightning_warmup.callbacks.batches import sequence_batches

VALUES = torch.randn(48, 20, 3, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.arange(48) % 18 + 3


def samples() -> list[dict[str, Tensor]]:
    """Samples as dicts, with what comes after the end of a sequence no number at all."""
    return [
        {
            "x": values.masked_fill(torch.arange(20)[:, None] >= n, torch.nan),
            "whole": values,
            "n": n,
            "token": values[:, 0].gt(0).long(),
        }
        for values, n in zip(VALUES, LENGTHS, strict=True)
    ]


class Plain(LightningModule):
    """What all strangers below share."""

    batch_first = True

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 8, batch_first=self.batch_first)

    def given(self, batch: dict[str, Tensor]) -> Any:
        return batch["whole"]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        output, _ = self.rnn(self.given(batch))
        return (output if isinstance(output, Tensor) else output.data).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class TimeFirst(Plain):
    batch_first = False

    def given(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["whole"].transpose(0, 1)


class Packed(Plain):
    def given(self, batch: dict[str, Tensor]) -> Any:
        return pack_padded_sequence(batch["x"], batch["n"].cpu(), batch_first=True, enforce_sorted=False)


class Tokens(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, 3)

    def given(self, batch: dict[str, Tensor]) -> Tensor:
        return self.embedding(batch["token"])


class Normalised(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))

    def given(self, batch: dict[str, Tensor]) -> Tensor:
        self.log("mean", batch["whole"].mean())
        self.logger.experiment.log_metrics({"looked": 1.0})  # type: ignore[union-attr]
        return self.normalise(100 * batch["whole"].transpose(1, 2)).transpose(1, 2)


class Manual(Plain):
    """Steps two optimizers itself, the second one for the network."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 1)
        self.automatic_optimization = False

    def training_step(self, batch: dict[str, Tensor]) -> None:  # type: ignore[override]
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            self.toggle_optimizer(optimizer)
            optimizer.zero_grad()
            self.manual_backward(self.head(self.rnn(input=batch["whole"])[0]).square().mean())
            optimizer.step()
            self.untoggle_optimizer(optimizer)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:  # type: ignore[override]
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.head, self.rnn)]


class Compiled(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.run = torch.compile(lambda x: self.rnn(x), backend="eager")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.run(batch["whole"])[0].square().mean()


def data(size: int = 12) -> DataLoader[Any]:
    return DataLoader(samples(), batch_size=size, shuffle=True)  # type: ignore[arg-type]


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sequences that stages and monitors are given from now on."""
    seen: list[Any] = []

    def look(*arguments: Any) -> Any:
        for batch in sequence_batches(*arguments):
            seen.append(batch)
            yield batch

    for name in ("stage", "monitor"):
        monkeypatch.setattr(f"lightning_warmup.callbacks.{name}.sequence_batches", look)
    return seen


@pytest.mark.parametrize("stranger", [Plain, TimeFirst, Packed, Tokens, Normalised, Manual, Compiled])
def test_one_line_warms_up_what_the_network_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: type[Plain]
) -> None:
    seen = watched(monkeypatch)
    torch.manual_seed(0)
    module = stranger()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    callbacks = [PretrainStage(steps=1), WarmupStage(steps=2), MultistabilityMonitor(steps=5, count=16)]
    trainer(tmp_path, *callbacks, max_steps=0, logger=CSVLogger(tmp_path)).fit(module, data())
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("rnn.")}
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(part.training for part in module.modules())
    assert not any("looked" in path.read_text() for path in tmp_path.rglob("metrics.csv"))
    assert [batch[0].shape[1] for batch in seen] == [32, 32, 32, 16]
    assert all(torch.isfinite(sequences).all() and not sequences.requires_grad for sequences, _ in seen)
    if stranger is Packed:
        assert {int(n) for n in seen[0][1]} <= set(LENGTHS.tolist())
        assert len(seen[0][0]) == seen[0][1].max()
    else:
        assert len(seen[0][0]) == 20
        assert seen[0][1] is None


@pytest.mark.parametrize("stranger", [Packed, Tokens, Manual, Compiled])
def test_training_keeps_what_its_own_step_gives_the_network(tmp_path: Path, stranger: type[Plain]) -> None:
    """And trains on as without."""
    weights = []
    for regularize in (0.0, 1.0):
        torch.manual_seed(0)
        module = stranger()
        stage = WarmupStage(steps=1, objective=Published(max_stabilization=5, regularize=regularize))
        trainer(tmp_path, stage, max_epochs=2, limit_train_batches=2).fit(module, data())
        weights.append(module.rnn.weight_hh_l0.detach())
    assert torch.isfinite(weights[1]).all()
    assert not torch.equal(*weights)


def test_a_manual_optimizer_trains_on_after_the_look(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [WarmupStage(steps=1, lr=1e-9)]):
        torch.manual_seed(0)
        module = Manual()
        trainer(tmp_path, *callbacks).fit(module, data())
        weights.append(module.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value)


class Stepwise(Plain):
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        state = None
        for step in batch["whole"].split(1, dim=1):
            output, state = self.rnn(step, state)
        return output.square().mean()


class Unused(Plain):
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.rnn.weight_hh_l0.square().sum()


class Failing(Plain):
    def given(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["values"]


class Wider(Plain):
    def given(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["whole"].repeat(1, 1, 2)


class Flat(Plain):
    def given(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["whole"][:, 0]


@pytest.mark.parametrize(
    ("stranger", "message"),
    [
        (Stepwise, r"sequences=None: the GRU is given one step at a time, must be whole sequences: pass seq"),
        (Unused, r"sequences=None: the GRU is not called: pass sequences=\.\.\., a function"),
        (
            Failing,
            r"sequences=None: KeyError: 'values', in training_step of Failing before it calls the GRU: pa",
        ),
        (Wider, r"sequences have 6 features: must be 3, as the network takes"),
        (Flat, r"sequences=None: the GRU is given shape \(12, 3\) of torch.float32, must be .* 3 axes: pass"),
    ],
)
def test_what_cannot_be_observed_is_said_in_one_line(
    tmp_path: Path, stranger: type[Plain], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        trainer(tmp_path, WarmupStage(steps=1), max_steps=0).fit(stranger(), data())
    assert "\n" not in str(caught.value)


def test_a_function_may_take_the_module_too(tmp_path: Path) -> None:
    def embed(batch: dict[str, Tensor], module: LightningModule) -> Tensor:
        return module.embedding(batch["token"])

    stage = WarmupStage(sequences=embed, steps=2)
    trainer(tmp_path, stage).fit(Tokens(), data())
    assert stage.done
