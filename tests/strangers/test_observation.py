"""Modules of others whose batches are no sequences: the stage takes what the network is given."""

from __future__ import annotations

import traceback
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

from lightning_warmup import MultistabilityMonitor, PretrainStage, Published, WarmupStage, warmup
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


class Sometimes(Plain):
    """Calls the network for every second batch, and returns None before for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:  # type: ignore[override]
        self.steps += 1
        return super().training_step(batch, batch_idx) if self.steps % 2 == 0 else None


class SomeSingle(Sometimes):
    """Gives the network a single step of every second batch."""

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.steps += 1
        return self.rnn(batch["whole"] if self.steps % 2 == 0 else batch["whole"][:, :1])[0].square().mean()


class ByNumber(Sometimes):
    """Calls the network for batches of odd numbers."""

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:  # type: ignore[override]
        self.steps += 1
        return Plain.training_step(self, batch, batch_idx) if batch_idx % 2 else None


@pytest.mark.parametrize("stranger", [Sometimes, SomeSingle, ByNumber])
def test_batches_without_sequences_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: type[Sometimes]
) -> None:
    seen, module = watched(monkeypatch), stranger()
    stage = WarmupStage(steps=3, objective=Published(max_stabilization=5, regularize=1.0))
    trainer(tmp_path, stage, max_epochs=2).fit(module, data())
    assert [batch[0].shape for batch in seen] == [(20, 24, 3)] * 3  # half of all
    assert module.steps == 8


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
        (Unused, r"sequences=None: the GRU is not called as a module: pass sequences=\.\.\., a function"),
        (
            Failing,
            r"sequences=None: KeyError: 'values', in training_step of Failing before it calls the GRU \(it ",
        ),
        (Wider, r"sequences have 6 features: must be 3, as the network takes"),
        (Flat, r"sequences=None: the GRU is given shape \(12, 3\) of torch.float32, must be .* 3 axes: pass"),
    ],
)
def test_what_cannot_be_observed_is_said_in_one_line(
    tmp_path: Path, stranger: type[Plain], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        trainer(tmp_path, WarmupStage(steps=1), max_steps=1).fit(stranger(), data())
    assert "\n" not in str(caught.value)
    assert (stranger is Failing) == ('batch["values"]' in "".join(traceback.format_exception(caught.value)))
    assert "_Stop" not in "".join(traceback.format_exception(caught.value))


class Loop(Plain):
    """Loops over a cell, with batches of sequences that have the batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRUCell(3, 8)  # type: ignore[assignment]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        state = None
        for step in batch["whole"].unbind(1):
            state = self.rnn(step, state)
        return state.square().mean()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stranger", "function", "message"),
    [
        (
            Loop,
            lambda batch: batch["whole"],
            r"must return \(T, B, I\), time first; the GRUCell gets B=12, not \(12, 20, 3\)$",
        ),
        (Plain, lambda batch: [batch["whole"]], r"must return a tensor of 3 axes, or .*, not a list$"),
        (Plain, lambda batch: batch["whole"][0], r"must return a tensor .*, not a Tensor \(20, 3\)$"),
        (Plain, lambda batch: batch["whole"].to("meta"), "^sequences are on meta: must be on cpu, where the"),
    ],
)
def test_a_function_that_returns_something_else_is_told_in_one_line(
    tmp_path: Path, stranger: type[Plain], function: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        trainer(tmp_path, WarmupStage(sequences=function, steps=1)).fit(stranger(), data())
    assert "\n" not in str(caught.value)


def test_sequences_for_a_cell_lie_time_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(monkeypatch)
    stage = WarmupStage(sequences=lambda batch: batch["whole"].transpose(0, 1), steps=1)
    trainer(tmp_path, stage).fit(Loop(), data())
    assert [batch[0].shape for batch in seen] == [(20, 32, 3)]


def test_a_scripted_network_is_refused_in_one_line(tmp_path: Path) -> None:
    module = Plain()
    module.rnn = torch.jit.script(module.rnn)
    with pytest.raises(ValueError, match=r"^network='rnn': must not be scripted or traced; do that after"):
        trainer(tmp_path, WarmupStage("rnn", steps=1)).fit(module, data())
    with pytest.raises(ValueError, match=r"^network=ScriptModule: must not be scripted or traced"):
        warmup(module.rnn, torch.randn(4, 10, 3))


def test_sequences_on_another_device_are_told() -> None:
    with pytest.raises(ValueError, match=r"^sequences are on meta: must be on cpu, where the network is$"):
        warmup(nn.GRU(3, 4), torch.randn(10, 4, 3, device="meta"))


def test_a_function_may_take_the_module_too(tmp_path: Path) -> None:
    def embed(batch: dict[str, Tensor], module: LightningModule) -> Tensor:
        return module.embedding(batch["token"])

    stage = WarmupStage(sequences=embed, steps=2)
    trainer(tmp_path, stage).fit(Tokens(), data())
    assert stage.done
