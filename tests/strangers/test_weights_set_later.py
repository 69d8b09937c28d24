"""Modules that set their weights after a stage, and optimizers that copied them before it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command import ROOT
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from stranger import Stranger, loader, trainer
from torch import Tensor, nn

from lightning_warmup import MultistabilityMonitor, SideMemory, WarmupStage, multistability
from lightning_warmup.callbacks.pretrain import PretrainStage


class Look(Callback):
    """Notes the VAA that the training begins with."""

    vaa: float

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0 and trainer.global_step == 0:
            self.vaa = multistability(pl_module.rnn, batch[0], steps=500, draws=1).vaa  # type: ignore[arg-type]


class Initialises(Stranger):
    """Initialises its network in a hook."""

    def __init__(self, hook: str) -> None:
        super().__init__(hidden=24)
        if hook:
            setattr(self, hook, self.initialise)

    def initialise(self) -> None:
        for parameter in self.rnn.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)


@pytest.mark.parametrize("hook", ["", "on_fit_start", "on_train_start", "on_train_epoch_start"])
def test_the_training_begins_with_the_warmed_weights(
    tmp_path: Path, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    look = Look()
    stages = [PretrainStage(steps=1), WarmupStage(objective="published"), look]
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        trainer(tmp_path, *stages, max_steps=1).fit(Initialises(hook), loader())
    assert look.vaa > 0.6
    repeated = [line for line in caplog.messages if "repeated" in line]
    assert repeated == [
        f"{name}: repeated, because the weights of the network were set after it."
        for name in ("Pretrain", "Warmup")
        if hook
    ]


class Lookahead(torch.optim.SGD):
    """Copies the weights when it is made, and goes half-way back to the copy at each step."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.0)
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for slow, fast in zip(self.slow, self.param_groups[0]["params"], strict=True):
            fast.copy_(slow.lerp_(fast, 0.5))
        return loss


class Around(torch.optim.Optimizer):
    """An optimizer in another one."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)


@pytest.mark.parametrize("made", ["in configure_optimizers", "before", "within another"])
@pytest.mark.parametrize("hook", ["", "on_train_start"])
def test_an_optimizer_that_copied_the_weights_does_not_draw_them_back(
    tmp_path: Path, hook: str, made: str
) -> None:
    class Slow(Initialises):
        def __init__(self, hook: str) -> None:
            super().__init__(hook)
            self.made: Any = Lookahead(self.parameters())
            if made == "within another":
                self.made = Around(self.made)

        def configure_optimizers(self) -> Any:
            if made == "in configure_optimizers":
                self.made = Lookahead(self.parameters())
            return [self.made], [torch.optim.lr_scheduler.StepLR(self.made, 1)]

    left: list[Tensor] = []

    class Note(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            left.append(module.rnn.weight_hh_l0.detach().clone())

    torch.manual_seed(0)
    module = Slow(hook)
    trainer(tmp_path, WarmupStage(steps=5), Note()).fit(module, loader())
    assert len(left) == 4
    assert torch.equal(module.rnn.weight_hh_l0, left[0])  # its learning rate is 0


class Twins(LightningModule):
    """Two networks that begin with equal weights."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.first, self.second = rnn, copy.deepcopy(rnn)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return sum(rnn(batch[0])[0].square().mean() for rnn in (self.first, self.second))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


@pytest.mark.parametrize(
    "make", [lambda: nn.LSTM(1, 12, batch_first=True), lambda: SideMemory("gru", 1, 12, batch_first=True)]
)
def test_a_network_that_begins_with_the_same_weights_is_left_alone(tmp_path: Path, make: Any) -> None:
    module = Twins(make())
    before = copy.deepcopy(module.second.state_dict())
    trainer(tmp_path, WarmupStage("first", steps=3), max_steps=0).fit(module, loader())
    assert all(torch.equal(before[name], weight) for name, weight in module.second.state_dict().items())
    assert any(not torch.equal(before[name], weight) for name, weight in module.first.state_dict().items())


class Later(Stranger):
    """Makes what its training step needs when the first epoch starts."""

    def on_train_epoch_start(self) -> None:
        self.factor = 2.0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.rnn(self.factor * batch[0])[0].square().mean()


def test_a_training_step_that_is_not_ready_is_run_before_the_first_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, logger = WarmupStage(steps=2), CSVLogger(tmp_path)
    callbacks = [PretrainStage(steps=1), stage, MultistabilityMonitor(steps=2)]
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        trainer(tmp_path, *callbacks, logger=logger).fit(Later(), loader())
    assert stage.done
    assert stage.result is not None
    waits = [line for line in caplog.messages if "waits" in line]
    assert [line.partition(":")[0] for line in waits] == ["Pretrain", "Warmup"]
    assert "has no attribute 'factor'" in waits[0]
    assert Path(logger.experiment.metrics_file_path).read_text().count("monitor_M2/vaa") == 1
    with pytest.raises(ValueError, match="has no attribute 'factor'"):
        trainer(tmp_path, WarmupStage(steps=1), max_steps=0).fit(Later(), loader())


@pytest.mark.parametrize(
    "make",
    [lambda: WarmupStage(steps=1), lambda: PretrainStage(steps=1), lambda: MultistabilityMonitor(steps=2)],
)
def test_random_streams_do_not_depend_on_who_waits_for_the_first_batch(tmp_path: Path, make: Any) -> None:
    streams = []
    for callbacks in ([], [make()]):
        torch.manual_seed(7)
        trainer(tmp_path, *callbacks).fit(Later(), loader())
        streams.append(torch.get_rng_state())
    assert torch.equal(*streams)


SPAWNED = """
from pathlib import Path
from stranger import Stranger, loader, trainer
from lightning_warmup import WarmupStage

if __name__ == "__main__":
    module, stage = Stranger(), WarmupStage(steps=2)
    for expected in (False, True):
        assert stage.done == expected
        trainer(Path(), stage, accelerator="cpu", devices=1, strategy="ddp_spawn").fit(module, loader())
    assert stage.seconds > 0
"""


def test_what_spawned_processes_have_warmed_up_is_not_warmed_up_again(tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(SPAWNED)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "fit.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this stage has already run") == 1
