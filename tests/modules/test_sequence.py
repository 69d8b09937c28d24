"""The LightningModule for sequences."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmark import benchmark
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lightning_warmup.modules import SequenceModule
from lightning_warmup.networks import RecurrentNetwork


def quiet(folder: Path, **arguments: object) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, **arguments,  # type: ignore[arg-type]
    )  # fmt: skip


def made(input_size: int, output_size: int, task: str = "regression", **network: Any) -> SequenceModule:
    sizes = {"input_size": input_size, "hidden_size": 4, "output_size": output_size, "num_layers": 2}
    return SequenceModule(sizes | network, task)


def test_what_is_no_task_or_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="task='regresion'"):
        made(1, 1, "regresion")
    with pytest.raises(ValueError, match="network: must have batch_first=True"):
        SequenceModule(RecurrentNetwork(1, 4, 1))
    with pytest.raises(ValueError, match="network=None: must be given"):
        SequenceModule()


@pytest.mark.parametrize("name", ["copy_first_input", "denoising"])
def test_test_figures_are_weighted_by_samples(tmp_path: Path, name: str) -> None:
    """37 sequences in batches of 8 have an incomplete last batch."""
    torch.manual_seed(0)
    data = benchmark(
        name, seq_length=12, train_size=8, val_size=8, test_size=37, batch_size=8, test_lengths=[20]
    )
    module = made(data.input_size, data.output_size, data.task)
    (figures, at_length) = quiet(tmp_path).test(module, data, verbose=False)
    assert list(figures) == ["test/loss"]
    assert list(at_length) == ["test_at_length/20"]
    for loader, value in zip(
        data.test_dataloader(), [figures["test/loss"], at_length["test_at_length/20"]], strict=True
    ):
        batches = list(loader)
        with torch.no_grad():
            errors = torch.cat([(module(x, steps) - y).flatten(1) for x, y, steps in batches])
        assert value == pytest.approx(float((errors**2).mean()), rel=1e-5)


class Longer(LightningDataModule):
    """A test split, and two batches of longer sequences, with the first of which a network diverges."""

    test_names = ("length/9",)

    def test_dataloader(self) -> list[Any]:
        short, long = torch.zeros(2, 6, 1), torch.zeros(2, 10, 1)
        splits = ([short], [long / 0, long])
        batches = ([(x, torch.zeros(2, 1, 1), torch.tensor([5])) for x in split] for split in splits)
        return [DataLoader(each, batch_size=None) for each in batches]  # type: ignore[arg-type]


def test_a_loss_that_is_nan_in_one_batch_is_nan(tmp_path: Path) -> None:
    plain, longer = quiet(tmp_path).test(made(1, 1), Longer(), verbose=False)
    assert math.isfinite(plain["test/loss"])
    assert math.isnan(longer["test_at_length/9"])


OWN = torch.tensor([[1, 3, -1], [4, -1, -1], [0, 1, 2]])  # read-outs of each of three sequences


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_sequences_may_have_read_outs_of_their_own(tmp_path: Path, task: str) -> None:
    """Every read-out counts alike, whatever is padded and however read-outs fall into batches."""
    torch.manual_seed(0)
    module = made(2, 3, task)
    sequences = torch.randn(3, 6, 2)
    targets = torch.randn(3, 3, 3) if task == "regression" else torch.randint(3, (3, 3))
    batches = [tuple(part[rows] for part in (sequences, targets, OWN)) for rows in ([0, 1], [2])]
    (figures,) = quiet(tmp_path).test(module, DataLoader(batches, None), verbose=False)  # type: ignore[arg-type]
    places = [(row, k, int(t)) for row, steps in enumerate(OWN) for k, t in enumerate(steps) if t >= 0]
    with torch.no_grad():
        read = torch.stack([module(sequences[row : row + 1, : t + 1])[0, -1] for row, _, t in places])
    wanted = torch.stack([targets[row, k] for row, k, _ in places])
    if task == "regression":
        assert figures == {"test/loss": pytest.approx(float((read - wanted).square().mean()), rel=1e-5)}
    else:
        wrong = int((read.argmax(1) != wanted).sum())
        loss = float(torch.nn.functional.cross_entropy(read, wanted))
        expected = {"test/loss": loss, "test/accuracy": 1 - wrong / 6, "test/errors": wrong}
        assert figures == pytest.approx(expected, rel=1e-5)


def test_the_lengths_of_sequences_end_at_their_last_read_out() -> None:
    sequences, targets = torch.randn(3, 6, 2), torch.randn(3, 3, 3)
    found, lengths = SequenceModule.sequences((sequences, targets, OWN))
    assert found is sequences
    assert lengths.tolist() == [4, 5, 3]
    assert SequenceModule.sequences((sequences, targets, torch.arange(3))) is sequences


def test_processes_weigh_their_losses_by_their_read_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the processes' losses, and so of their gradients, is the loss of the whole batch."""
    torch.manual_seed(0)
    module = made(2, 3)
    batch = torch.randn(3, 6, 2), torch.randn(3, 3, 3), OWN
    monkeypatch.setattr(module, "all_gather", lambda _: torch.tensor([2.0, 4.0]))
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    losses = []
    for world_size, rows in ((2, [0]), (2, [1, 2]), (1, [0, 1, 2])):
        module._trainer = SimpleNamespace(world_size=world_size)  # type: ignore[assignment]
        losses.append(module.training_step(tuple(part[rows] for part in batch), 0))  # type: ignore[arg-type]
    torch.testing.assert_close(torch.stack(losses[:2]).mean(), losses[2])


class OneClass(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(3, 1), torch.zeros(1, dtype=torch.int64)


def test_a_perfect_classifier_has_accuracy_one(tmp_path: Path) -> None:
    module = made(1, 10, "classification")
    with torch.no_grad():
        module.network.readout.weight.zero_()
        module.network.readout.bias.copy_(torch.arange(10, 0, -1))

    def collate(rows: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, ...]:
        sequences, targets = zip(*rows, strict=True)
        return torch.stack(sequences), torch.stack(targets), torch.tensor([2])

    (figures,) = quiet(tmp_path).test(module, DataLoader(OneClass(), 32, collate_fn=collate), verbose=False)
    assert figures["test/accuracy"] == 1.0
    expected = torch.nn.functional.cross_entropy(torch.arange(10.0, 0, -1)[None], torch.tensor([0]))
    assert figures["test/loss"] == pytest.approx(float(expected), rel=1e-5)


def test_a_module_is_loaded_from_its_checkpoint_weights_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = benchmark("copy_first_input", seq_length=5, train_size=8, val_size=8, test_size=8, test_lengths=[])
    module = made(1, 1, cell="nbrc", double=True)
    trainer = quiet(tmp_path, max_epochs=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = SequenceModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    torch.save(module.network.state_dict(), tmp_path / "network.pt")
    network = RecurrentNetwork(1, 4, 1, num_layers=2, cell="nbrc", double=True, batch_first=True)
    network.load_state_dict(torch.load(tmp_path / "network.pt", weights_only=True))
    sequences = torch.randn(2, 6, 1)
    assert torch.equal(loaded(sequences), module(sequences))
    assert torch.equal(network(sequences)[0], module(sequences))


def test_a_network_learns_from_gradients_through_the_whole_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = benchmark(
        "copy_first_input", seq_length=3, train_size=640, val_size=64, test_size=64, test_lengths=[]
    )
    network = RecurrentNetwork(1, 16, 1, batch_first=True)
    module = SequenceModule(network, optimizer=lambda parameters, _: torch.optim.Adam(parameters, lr=1e-2))
    quiet(tmp_path, max_epochs=8).fit(module, data)
    (figures,) = quiet(tmp_path).test(module, data, verbose=False)
    assert figures["test/loss"] < 0.05


@pytest.mark.parametrize("step", ["training_step", "validation_step", "test_step"])
def test_data_that_are_not_finite_are_named(step: str) -> None:
    torch.manual_seed(0)
    module = made(1, 1)
    batch = (torch.randn(3, 5, 1), torch.randn(3, 1, 1), torch.tensor([4]))
    batch[0][1, 2] = torch.nan
    with pytest.raises(ValueError, match="data: NaN or infinite values in a batch"):
        getattr(module, step)(batch, 0)
