"""Fits that do more than train one module once, and training without a Trainer."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from stranger import Stranger, loader, trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_warmup import MultistabilityMonitor, Published, WarmupStage, find_network, observe, warmup
from lightning_warmup.procedures import schedules


class Tuned(Stranger):
    """What the finders of Lightning can tune."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.batch_size = 1e-3, 2

    def train_dataloader(self) -> DataLoader[Any]:
        sequences = torch.randn(64, 20, 1, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(sequences, sequences[:, 0]), batch_size=self.batch_size)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "finder",
    [
        lambda: LearningRateFinder(num_training_steps=3),
        lambda: BatchSizeFinder(steps_per_trial=1, max_trials=1),
    ],
)
def test_finders_do_not_pass_for_a_resumed_fit(tmp_path: Path, finder: Any, first: bool) -> None:
    torch.manual_seed(0)
    module, stage = Tuned(), WarmupStage(steps=2)
    monitor = MultistabilityMonitor(steps=2, count=8)
    before = module.rnn.weight_hh_l0.clone()
    callbacks = [finder(), stage, monitor] if first else [stage, monitor, finder()]
    trainer(tmp_path, *callbacks, max_steps=0).fit(module)
    assert stage.result is not None
    assert not torch.equal(module.rnn.weight_hh_l0, before)


def test_one_stage_warms_up_every_module_of_a_cross_validation(tmp_path: Path) -> None:
    stage, results = WarmupStage(steps=1), []
    first = Stranger()
    for module in (first, Stranger(), copy.deepcopy(first)):
        trainer(tmp_path, stage).fit(module, loader())
        results.append(stage.result)
        trainer(tmp_path, stage).fit(module, loader())  # and each once
        assert stage.result is results[-1]
    assert len(set(map(id, results))) == 3


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_module_copied_with_its_callbacks_trains_on(tmp_path: Path, copied: Any) -> None:
    stage = WarmupStage(steps=1, objective=Published(regularize=0.1))
    module = Stranger()
    fresh, new = copied((stage, module))
    trainer(tmp_path, fresh).fit(new, loader())
    assert fresh.done
    assert not stage.done
    result = fresh.result
    fresh, new = copied((fresh, new))
    trainer(tmp_path, fresh).fit(new, loader())
    assert fresh.result == result


def test_two_stages_warm_up_one_network_with_two_data_sets(tmp_path: Path) -> None:
    class Longer(WarmupStage):
        """A stage of its own kind."""

    stages = [WarmupStage(steps=1), Longer("rnn", lambda batch: batch[0][:, :5], steps=2)]
    trainer(tmp_path, *stages).fit(Stranger(), loader())
    assert [len(stage.result or ()) for stage in stages] == [1, 2]


def test_a_module_that_is_not_recurrent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"network='head': is a Linear, must be a recurrent network$"):
        find_network(Stranger(), "head")


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 2)
        self.gru = nn.GRU(2, 8, num_layers=2)

    def forward(self, input: Tensor) -> Tensor:
        return self.gru(self.embed(input))[0]


@pytest.mark.parametrize("fabric", [False, True])
def test_a_loop_of_ones_own(fabric: bool) -> None:
    torch.manual_seed(0)
    model, batch = Classifier(), torch.randn(10, 40, 3)
    called: Any = model
    if fabric:
        called = Fabric(accelerator="cpu").setup_module(model)
    sequences, lengths = observe(model.gru, lambda: called(batch))
    assert torch.equal(sequences, model.embed(batch))
    assert lengths is None
    assert not sequences.requires_grad
    before = model.gru.weight_hh_l0.clone()
    assert len(warmup(model.gru, sequences, steps=2)) == 2
    assert not torch.equal(model.gru.weight_hh_l0, before)
    assert called(batch).requires_grad


def warm_a_share(fabric: Fabric, folder: Path) -> None:
    torch.manual_seed(0)
    model = Classifier()
    called: Any = fabric.setup(model, torch.optim.Adam(model.parameters()))[0]
    rank = fabric.global_rank
    batch = torch.randn(10, 32 - 20 * rank, 3, generator=torch.Generator().manual_seed(rank))
    sequences, _ = observe(model.gru, lambda: called(batch))
    schedules.WORTHWHILE = 3
    result = warmup(model.gru, sequences, steps=3, batch_size=16)
    torch.save((list(result), result.vaa, model.state_dict()), folder / f"{fabric.global_rank}.pt")


def test_a_loop_of_ones_own_in_two_processes(tmp_path: Path) -> None:
    Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn").launch(warm_a_share, tmp_path)
    (steps, vaa, weights), other = (torch.load(tmp_path / f"{n}.pt", weights_only=False) for n in range(2))
    assert (steps, vaa) == other[:2]  # though the data differ: the states of both count
    assert steps[-1].attempt > 1
    for name, weight in weights.items():
        assert torch.equal(weight, other[2][name])
