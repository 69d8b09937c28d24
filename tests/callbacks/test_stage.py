"""The stage in projects that have nothing of ours but the callback."""

from __future__ import annotations

import copy
import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy
from stranger import Stranger, StrangersData, loader, trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_warmup import RecurrentNetwork, Rest, SideMemory, WarmupDiverged, WarmupStage
from lightning_warmup.callbacks.stage import require_whole_weights
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.networks.find import find_network


@pytest.mark.parametrize("source", ["loader", "datamodule", "module"])
def test_data_come_from_wherever_the_fit_has_them(tmp_path: Path, source: str) -> None:
    torch.manual_seed(0)
    module = Stranger(with_loader=source == "module")
    before = copy.deepcopy(module.state_dict())
    stage = WarmupStage(steps=3, batch_size=8)
    data = {"loader": {"train_dataloaders": loader()}, "datamodule": {"datamodule": StrangersData()}}.get(
        source, {}
    )
    trainer(tmp_path, stage, max_steps=0).fit(module, **data)
    assert stage.done
    after = module.state_dict()
    assert not torch.equal(after["rnn.weight_hh_l0"], before["rnn.weight_hh_l0"])
    assert torch.equal(after["head.weight"], before["head.weight"])


def test_the_stage_makes_the_network_multistable(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, sequences = Stranger(layers=2, hidden=64), torch.randn(32, 20, 1)
    assert multistability(module.rnn, sequences, steps=200).vaa == pytest.approx(1 / 32, abs=1e-3)
    trainer(tmp_path, WarmupStage(), max_steps=0).fit(module, loader())
    assert multistability(module.rnn, sequences, steps=200).vaa > 0.5


class Classifier(LightningModule):
    """Reads a network with a memory at its side: its states, as is usual, or its outputs, or both."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.rnn, self.head, self.reads = SideMemory("gru", 1, 8, num_layers=2), nn.Linear(8, 1), reads

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        output, h_n = self.rnn(batch[0].transpose(0, 1))
        last = self.rnn.last_output(h_n)
        read = {"outputs": output[-1], "last output": last, "states": h_n[-1], "both": last + h_n[0]}
        return self.head(read[self.reads]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


@pytest.mark.parametrize("reads", ["outputs", "last output", "states", "both"])
def test_a_memory_that_is_not_silent_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reads: str
) -> None:
    torch.manual_seed(0)
    with caplog.at_level("INFO"):
        trainer(tmp_path, WarmupStage(steps=2), max_steps=3).fit(Classifier(reads), loader())
    assert caplog.text.count("the loss does not read the outputs of the memory") == (reads == "states")
    assert caplog.text.count("the loss reads more of the memory") == (reads == "both")


def test_a_memory_that_is_in_use_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Classifier("outputs")
    with caplog.at_level("INFO"):
        trainer(tmp_path, WarmupStage(steps=1)).fit(module, loader())
        assert "in use already" not in caplog.text
        trainer(tmp_path, WarmupStage(steps=1)).fit(module, loader())
    assert caplog.text.count("in use already") == 1


class Lazy(Stranger):
    """Has a layer whose width its first call tells."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(1)


def test_layers_without_a_shape_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"head\.weight: must have a shape: call the module once before"):
        trainer(tmp_path, WarmupStage(steps=1)).fit(Lazy(), loader())


@pytest.mark.parametrize("drawn", [False, True])
def test_an_objective_in_the_training_leaves_random_streams_and_attributes(
    tmp_path: Path, drawn: bool
) -> None:
    """Sequences that are drawn at random and count their calls, and a network that drops units at random."""

    class Counts(Stranger):
        calls = 0

        def draw(self, batch: list[Tensor]) -> Tensor:
            self.calls += 1
            return batch[0] + torch.randn_like(batch[0])

    found = []
    for regularize in (0.0, 0.1):
        torch.manual_seed(0)
        module = Counts(layers=2)
        module.rnn.dropout = 0.5
        sequences = (lambda batch, module: module.draw(batch)) if drawn else None
        stage = WarmupStage(sequences=sequences, objective=Rest(steps=2, regularize=regularize))
        trainer(tmp_path, stage, max_epochs=3).fit(module, loader())
        found.append((module.seen, torch.get_rng_state()))
        assert module.calls == 0
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_data_order_and_random_streams_do_not_depend_on_the_stage(tmp_path: Path) -> None:
    seen = []
    for callbacks in ([], [WarmupStage(steps=2)]):
        torch.manual_seed(7)
        module = Stranger()
        trainer(tmp_path, *callbacks, max_epochs=2).fit(module, loader())
        seen.append((module.seen, torch.get_rng_state()))
    assert seen[0][0] == seen[1][0]
    assert torch.equal(seen[0][1], seen[1][1])


def test_the_training_optimiser_starts_empty(tmp_path: Path) -> None:
    module, empty = Stranger(), []

    class Look(ModelCheckpoint):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            empty.append(
                not trainer.optimizers[0].state and all(p.grad is None for p in pl_module.parameters())
            )

    trainer(tmp_path, WarmupStage(steps=2), Look(tmp_path), enable_checkpointing=True).fit(module, loader())
    assert empty == [True]


def test_it_runs_once_and_not_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Stranger()
    first = trainer(tmp_path, WarmupStage(steps=2))
    first.fit(module, loader())
    first.save_checkpoint(tmp_path / "a.ckpt")
    resumed = WarmupStage(steps=2)
    monkeypatch.setattr(
        "lightning_warmup.callbacks.warmup.warmup_steps", lambda *_, **__: pytest.fail("warmed up again")
    )
    trainer(tmp_path, resumed, max_epochs=2).fit(module, loader(), ckpt_path=tmp_path / "a.ckpt")
    assert resumed.done
    first.fit(module, loader())


def test_it_is_skipped_under_fast_dev_run(tmp_path: Path) -> None:
    stage = WarmupStage()
    trainer(tmp_path, stage, fast_dev_run=True).fit(Stranger(), loader())
    assert not stage.done


def test_every_step_is_logged_on_its_own_axis(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path)
    trainer(tmp_path, WarmupStage(steps=3), logger=logger, max_steps=0).fit(Stranger(), loader())
    with open(logger.experiment.metrics_file_path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["warmup/step"] for row in rows] == ["0", "1", "2"]
    assert {"warmup/loss", "warmup/vaa_star", "warmup/stabilization", "warmup/gradient_norm"} <= set(rows[0])


def test_a_mapping_gives_prefixes_of_histories(tmp_path: Path) -> None:
    """What comes after the end of a history is no number at all."""

    def histories(batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        sequences, lengths = batch[0].clone(), torch.randint(1, 20, (len(batch[0]),))
        sequences[torch.arange(20) >= lengths[:, None]] = torch.nan
        return sequences, lengths

    stage = WarmupStage("rnn", histories, steps=2)
    trainer(tmp_path, stage, max_steps=0).fit(Stranger(), loader())
    assert stage.done


def test_what_the_network_is_given_is_said_if_it_is_no_sequence(tmp_path: Path) -> None:
    data = DataLoader(TensorDataset(torch.zeros(64, 1), torch.zeros(64)), batch_size=8)
    with pytest.raises(ValueError, match=r"the LSTM is given shape \(8, 1\).*sequences="):
        trainer(tmp_path, WarmupStage()).fit(Stranger(), data)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions_of_the_trainer(tmp_path: Path, precision: str) -> None:
    stage = WarmupStage(steps=2)
    trainer(tmp_path, stage, precision=precision).fit(Stranger(), loader())
    assert stage.done


def test_a_diverging_warmup_ends_the_fit(tmp_path: Path) -> None:
    with pytest.raises(WarmupDiverged, match="with lr="):
        trainer(tmp_path, WarmupStage(lr=3e37)).fit(Stranger(), loader())


def test_weights_that_are_shared_out_are_refused() -> None:
    with pytest.raises(ValueError, match="strategy=FSDPStrategy: must keep all weights"):
        require_whole_weights(SimpleNamespace(strategy=FSDPStrategy()))  # type: ignore[arg-type]


def test_the_network_is_found_if_there_is_exactly_one() -> None:
    module = Stranger()
    assert find_network(module) is module.rnn
    module.other = nn.GRU(1, 2)
    with pytest.raises(ValueError, match=r"2 recurrent networks \(rnn, other\)"):
        find_network(module)
    assert find_network(module, "other") is module.other
    with pytest.raises(ValueError, match="network='lstm'"):
        find_network(module, "lstm")
    with pytest.raises(ValueError, match="network=None: Linear holds no recurrent network"):
        find_network(nn.Linear(1, 1))


@pytest.mark.parametrize(
    "network",
    [nn.GRU(1, 4), nn.LSTMCell(1, 4), SideMemory("gru", 1, 8), RecurrentNetwork(1, 4, 1, num_layers=2)],
    ids=lambda network: type(network).__name__,
)
def test_a_network_is_found_in_itself(network: nn.Module) -> None:
    assert find_network(network) is network
    assert find_network(nn.ModuleDict({"rnn": network})) is network


def test_data_smaller_than_a_batch_give_all_that_there_are(tmp_path: Path) -> None:
    stage = WarmupStage(steps=1, batch_size=65)
    trainer(tmp_path, stage, max_steps=0).fit(Stranger(), loader())
    assert stage.result is not None
    assert 64 * stage.result.vaa == pytest.approx(round(64 * stage.result.vaa), abs=1e-4)


def test_two_networks_are_warmed_up_in_one_fit_and_not_again_on_resume(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    def stages() -> list[WarmupStage]:
        return [WarmupStage("encoder", steps=1), WarmupStage("decoder", steps=1)]

    class TwoNetworks(Stranger):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.GRU(1, 4, batch_first=True), nn.GRU(4, 4, batch_first=True)

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return self.decoder(*self.encoder(batch[0]))[0].square().mean()

    torch.manual_seed(0)
    module = TwoNetworks()
    logger = CSVLogger(tmp_path)
    first = trainer(tmp_path, *stages(), logger=logger)
    first.fit(module, loader())
    with open(logger.experiment.metrics_file_path, newline="") as file:
        names = set(next(csv.reader(file)))
    assert {"warmup/encoder/loss", "warmup/decoder/loss"} <= names
    first.save_checkpoint(tmp_path / "a.ckpt")
    resumed = stages()
    trainer(tmp_path, *resumed, max_epochs=2).fit(module, loader(), ckpt_path=tmp_path / "a.ckpt")
    assert [(stage.done, stage.result) for stage in resumed] == [(True, None)] * 2


PROJECT = """
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_warmup import WarmupStage, MultistabilityMonitor, vaa, vaa_star, warmup


class Copy(LightningModule):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 16, num_layers=2, batch_first=True)
        self.head = nn.Linear(16, 1)

    def training_step(self, batch, batch_idx):
        output, _ = self.lstm(batch[0])
        return nn.functional.mse_loss(self.head(output[:, -1]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


x = torch.randn(64, 15, 1)
stage = WarmupStage(steps=5)
trainer = Trainer(callbacks=[stage, MultistabilityMonitor(steps=20)], max_epochs=1, accelerator="cpu", logger=False)
trainer.fit(Copy(), DataLoader(TensorDataset(x, x[:, 0]), batch_size=16))
assert stage.done
print("warmed up")
"""


def test_a_project_of_its_own_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    done = subprocess.run(
        [sys.executable, "project.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("warmed up\n")
