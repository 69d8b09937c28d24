"""The order of the batches: a function of seed and epoch, shared by processes, resumed where it stopped."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import TensorDataset

from datamodules.loader import BatchOrder, ResumableLoader, endless
from datamodules.streams import stream


def orders(size: int, batch_size: int, world_size: int, **options) -> list[BatchOrder]:
    return [
        BatchOrder(range(size), batch_size, num_replicas=world_size, rank=rank, **options)
        for rank in range(world_size)
    ]


def loader(size: int, batch_size: int, **options) -> ResumableLoader:
    return ResumableLoader(TensorDataset(torch.arange(size)), BatchOrder(range(size), batch_size, **options))


def values(batches) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    order = BatchOrder(range(10), 4, seed=3)
    epochs = []
    for epoch in (0, 1, 0):
        order.set_epoch(epoch)
        epochs.append(list(order))
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    assert sorted(chain(*epochs[0])) == list(range(10))
    assert epochs[0] == epochs[2] != epochs[1]
    # Neighbouring seeds do not share their orders one epoch apart, as a sum of seed and epoch would have it.
    neighbour = BatchOrder(range(10), 4, seed=4)
    assert epochs[1] != list(neighbour)


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_in_the_order_of_the_ranks_are_the_batch_of_a_single_process(world_size, shuffle):
    single = list(BatchOrder(range(40), 8, shuffle=shuffle, seed=1))
    shared = zip(*orders(40, 8, world_size, shuffle=shuffle, seed=1), strict=True)
    assert [list(chain(*shares)) for shares in shared] == single


@pytest.mark.parametrize("size", [40, 41, 43, 46, 47])
def test_in_training_all_processes_hold_equally_many_samples(size):
    shares = [list(order) for order in orders(size, 8, 4)]
    assert len({tuple(len(batch) for batch in share) for share in shares}) == 1
    drawn = [index for share in shares for batch in share for index in batch]
    assert len(drawn) == len(set(drawn)) == size - size % 4
    assert all(len(order) == len(share) for order, share in zip(orders(size, 8, 4), shares, strict=True))


@pytest.mark.parametrize("size", [1, 3, 40, 41, 43, 46, 47])
def test_in_evaluation_every_sample_comes_exactly_once(size):
    shares = [list(order) for order in orders(size, 8, 4, shuffle=False)]
    drawn = Counter(index for share in shares for batch in share for index in batch)
    assert drawn == Counter(range(size))
    assert all(batch for share in shares for batch in share)
    assert [len(share) for share in shares] == [len(order) for order in orders(size, 8, 4, shuffle=False)]


def test_an_incomplete_batch_can_be_left_out():
    assert [len(batch) for batch in BatchOrder(range(11), 4, drop_last=True)] == [4, 4]


@pytest.mark.parametrize(
    ("batch_size", "message"), [(6, r"batch_size=6: .* \(4\)"), (0, "batch_size=0: must")]
)
def test_batch_sizes_that_processes_cannot_share_are_refused(batch_size, message):
    with pytest.raises(ValueError, match=message):
        BatchOrder(range(40), batch_size, num_replicas=4, rank=0)


def test_a_batch_is_one_index_operation_and_leaves_the_global_stream_alone():
    class Recorder(TensorDataset):
        asked: list[list[int]] = []

        def __getitem__(self, indices):
            self.asked.append(indices)
            return super().__getitem__(indices)

    before = torch.get_rng_state()
    data = Recorder(torch.arange(10))
    assert [len(batch) for (batch,) in ResumableLoader(data, BatchOrder(data, 4))] == [4, 4, 2]
    assert [len(indices) for indices in data.asked] == [4, 4, 2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_gives_the_rest_of_its_epoch_and_then_whole_epochs():
    whole = values(loader(10, 3))
    first = loader(10, 3)
    list(islice(first, 2))
    second = loader(10, 3)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()  # also before its first batch
    assert values(second) == whole[2:]
    assert values(second) == whole
    second.load_state_dict(first.state_dict())
    second.order.set_epoch(1)
    assert len(values(second)) == len(whole)


def test_state_counts_what_was_yielded_not_what_workers_fetched_ahead():
    data = TensorDataset(torch.arange(10))
    parallel = ResumableLoader(data, BatchOrder(data, 2), num_workers=1)
    list(islice(parallel, 2))
    assert parallel.state_dict() == {"epoch": 0, "batches": 2}


def test_endless_batches_go_on_in_a_new_order():
    passes = values(islice(endless(loader(6, 3, drop_last=True)), 6))
    assert all(sorted(chain(*passes[k : k + 2])) == list(range(6)) for k in (0, 2, 4))
    assert passes[:2] != passes[2:4]


def test_streams_are_told_apart_by_their_names():
    draws = [
        torch.rand(3, generator=stream(seed, *names)).tolist()
        for seed, names in [(0, ("a",)), (0, ("b",)), (1, ("a",)), (0, ("a", 1)), (1, ("a", 0))]
    ]
    assert len({tuple(draw) for draw in draws}) == len(draws)
    assert draws[0] == torch.rand(3, generator=stream(0, "a")).tolist()


class Record(LightningModule):
    """Notes epoch, index and samples of each batch it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int, list[int]]] = []

    def train_dataloader(self):
        return loader(10, 2, seed=3)

    def val_dataloader(self):
        return loader(4, 2, shuffle=False)

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch[0].tolist()))
        return self.weight * batch[0].sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Kill(Callback):
    """Ends the run after a number of steps, as a crash would."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


SILENT = {
    "max_epochs": 3,
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def fit(folder, kill: int = 0, ckpt: str | None = None, every_n_train_steps: int = 0, **limits):
    """Trains for 3 epochs of 5 batches, or until killed; returns the batches and the last checkpoint."""
    saving = {"every_n_train_steps": every_n_train_steps} if every_n_train_steps else {"every_n_epochs": 1}
    checkpoint = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **saving)
    # Lightning moves the checkpoint to the end of the callbacks: the step of the kill is never saved.
    trainer = Trainer(callbacks=[checkpoint, Kill(kill)], **SILENT, **limits)
    module = Record()
    try:
        trainer.fit(module, ckpt_path=ckpt)
    except (KeyboardInterrupt, SystemExit):
        assert kill
    return module.seen, checkpoint.best_model_path


@pytest.mark.parametrize("limits", [{}, {"limit_train_batches": 4}, {"limit_val_batches": 0}], ids=str)
@pytest.mark.parametrize(
    ("kill", "every_n_train_steps"),
    [(4, 1), (4, 2), (6, 0), (6, 1), (6, 2), (8, 0), (8, 1), (8, 2), (11, 0), (11, 1), (11, 2)],
)
@pytest.mark.filterwarnings("ignore:.*ckpt_path.*", "ignore:.*dirpath.*")
def test_a_killed_run_sees_the_batches_that_remained(tmp_path, kill, every_n_train_steps, limits):
    whole, _ = fit(tmp_path / "whole", **limits)
    _, ckpt = fit(tmp_path / "killed", kill, None, every_n_train_steps, **limits)
    saved = torch.load(ckpt, weights_only=True)["global_step"]
    resumed, _ = fit(tmp_path / "resumed", ckpt=ckpt, **limits)
    assert 0 < saved < kill
    assert resumed == whole[saved:]


@pytest.mark.filterwarnings("ignore:.*ckpt_path.*", "ignore:.*dirpath.*")
def test_a_run_that_is_killed_twice_in_one_epoch_misses_nothing(tmp_path):
    whole, _ = fit(tmp_path / "whole")
    _, first = fit(tmp_path / "first", kill=7, every_n_train_steps=2)
    _, second = fit(tmp_path / "second", kill=9, ckpt=first, every_n_train_steps=2)
    resumed, _ = fit(tmp_path / "third", ckpt=second)
    assert resumed == whole[8:]


@pytest.mark.filterwarnings("ignore:You requested to overfit.*")
def test_overfitting_sees_the_first_batches_in_order_again_and_again():
    module = Record()
    trainer = Trainer(overfit_batches=2, enable_checkpointing=False, **SILENT)
    trainer.fit(module)
    assert module.seen == [(epoch, k, [2 * k, 2 * k + 1]) for epoch in range(3) for k in range(2)]
    module.seen = []
    trainer = Trainer(overfit_batches=2, enable_checkpointing=False, **SILENT)
    trainer.fit(module, module.train_dataloader(), module.val_dataloader())
    assert len(module.seen) == 6
