"""Copy first input and denoising: what is in a batch, whose random numbers it holds, and what is refused."""

from __future__ import annotations

import weakref
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from benchmark import benchmark

from configs import data
from datamodules.copy_first_input import CopyFirstInput
from datamodules.generated import GeneratedDataModule

SMALL = {"seq_length": 20, "train_size": 96, "val_size": 64, "test_size": 64, "test_lengths": [30, 40]}
BENCHMARKS = ("copy_first_input", "denoising")


def everything(loader) -> tuple[torch.Tensor, torch.Tensor]:
    sequences, targets, _ = zip(*loader, strict=True)
    return torch.cat(sequences), torch.cat(targets)


def same(loader, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(everything(loader), everything(other), strict=True))


@pytest.mark.parametrize("input_size", [1, 3])
def test_copy_first_input_asks_for_the_first_step_at_the_last(input_size):
    data = benchmark("copy_first_input", input_size=input_size, **SMALL)
    sequences, targets, steps = next(iter(data.train_dataloader()))
    assert sequences.shape == (32, 20, input_size)
    assert (data.input_size, data.output_size) == (input_size, input_size)
    assert torch.equal(targets, sequences[:, :1])
    assert steps.tolist() == [19]


@pytest.mark.parametrize(("input_size", "pad_length"), [(1, 5), (3, 5), (1, 9), (2, 15)])
def test_denoising_asks_for_the_marked_values_in_the_order_of_time(input_size, pad_length):
    data = benchmark("denoising", input_size=input_size, pad_length=pad_length, **SMALL)
    assert (data.input_size, data.output_size) == (input_size + 1, input_size)
    for sequences, targets, steps in data.test_dataloader()[0]:
        assert steps.tolist() == [15, 16, 17, 18, 19]
        for sequence, target in zip(sequences, targets, strict=True):
            values, marker = sequence[:, :-1], sequence[:, -1].tolist()
            marked = [t for t in range(20) if marker[t] == 1]
            assert len(marked) == 5
            assert max(marked) < 20 - pad_length
            assert [t for t in range(20) if marker[t] == -1] == [15]
            assert marker.count(0) == 14
            assert torch.equal(target, torch.stack([values[t] for t in marked]))


def test_denoising_has_to_hold_under_noise_without_a_mark():
    held = benchmark("denoising", **SMALL | {"input_size": 2}).holding_inputs
    assert held.shape == (256, 3)
    assert not held[:, 2].any()
    assert held[:, :2].std().item() == pytest.approx(1, abs=0.1)


def test_the_places_of_the_marks_are_uniform():
    data = benchmark("denoising", seq_length=20, test_size=4000, test_lengths=())
    sequences, _ = everything(data.test_dataloader()[0])
    frequency = (sequences[..., -1] == 1).float().mean(0)
    assert frequency[:15].sub(1 / 3).abs().max() < 0.04  # five standard deviations
    assert frequency[15:].sum() == 0


@pytest.mark.parametrize("name", BENCHMARKS)
def test_values_are_standard_normal_also_during_the_answers(name):
    data = benchmark(name, seq_length=20, train_size=4000, test_lengths=())
    sequences, targets = everything(data.train_dataloader())
    values = sequences[..., : data.output_size]
    assert values.mean(0).abs().max() < 0.08
    assert values.var(0).sub(1).abs().max() < 0.12
    assert targets.square().mean().item() == pytest.approx(data.trivial_loss, abs=0.1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_only_training_and_validation_depend_on_the_seed(name):
    first, again, other = (benchmark(name, seed=seed, **SMALL) for seed in (0, 0, 1))
    assert same(first.train_dataloader(), again.train_dataloader())
    assert same(first.val_dataloader(), again.val_dataloader())
    assert not same(first.train_dataloader(), other.train_dataloader())
    assert not same(first.val_dataloader(), other.val_dataloader())
    for loader, loader_of_other in zip(first.test_dataloader(), other.test_dataloader(), strict=True):
        assert same(loader, loader_of_other)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_splits_have_nothing_in_common(name):
    data = benchmark(name, **SMALL)
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()[0]
    starts = [set(everything(loader)[0][:, 0, 0].tolist()) for loader in loaders]
    assert [len(start) for start in starts] == [96, 64, 64]
    assert len(set.union(*starts)) == 96 + 64 + 64


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_test_split_is_followed_by_256_sequences_of_each_length(name):
    loaders = benchmark(name, **SMALL).test_dataloader()
    assert [tuple(everything(loader)[0].shape[:2]) for loader in loaders] == [(64, 20), (256, 30), (256, 40)]
    assert len(benchmark(name, **SMALL | {"test_lengths": ()}).test_dataloader()) == 1


def test_one_set_of_longer_sequences_is_in_memory_at_a_time():
    """Each is drawn when its first batch is asked for, again with the same numbers, and dropped for another."""
    drawn = []

    class Watched(CopyFirstInput):
        def generate(self, *given):
            sequences, targets = super().generate(*given)
            drawn.append(weakref.ref(sequences))
            return sequences, targets

    split, first, second = Watched(data.CopyFirstInput(**SMALL)).test_dataloader()
    assert len(drawn) == 1  # the test split
    rows, _ = everything(first)
    everything(split)
    assert same(first, first)
    assert len(drawn) == 2
    everything(second)
    assert [there() is not None for there in drawn] == [True, False, True]
    assert torch.equal(everything(first)[0], rows)


def test_sets_of_longer_sequences_are_never_taken_for_one_another():
    data = benchmark("copy_first_input", **SMALL)
    for _ in range(20):  # new loaders may stand where those before stood in memory
        for at in (1, 2):
            loader = data.test_dataloader()[at]
            assert next(iter(loader))[0].shape[1] == loader.dataset.length


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_order_of_training_batches_changes_with_epoch_and_seed(name):
    data = benchmark(name, **SMALL)
    loader = data.train_dataloader()
    epochs = []
    for epoch in (0, 1):
        loader.order.set_epoch(epoch)
        epochs.append(everything(loader)[0])
    assert not torch.equal(*epochs)
    assert torch.equal(*(epoch.flatten().sort().values for epoch in epochs))


def test_generation_neither_reads_nor_moves_the_global_stream():
    def batches() -> torch.Tensor:
        data = benchmark("denoising", **SMALL)
        data.setup("fit")
        next(data.warmup_dataloader(16))
        return everything(data.train_dataloader())[0]

    torch.manual_seed(0)
    first, state = batches(), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(first, batches())
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())


def test_warmup_batches_are_full_endless_and_in_a_stream_of_their_own():
    data = benchmark("copy_first_input", **SMALL)
    warmup = [sequences for sequences, _, _ in islice(data.warmup_dataloader(40), 5)]
    assert [len(sequences) for sequences in warmup] == [40] * 5
    again = next(data.warmup_dataloader(40))[0]
    assert torch.equal(again, warmup[0])
    assert not torch.equal(next(data.warmup_dataloader(32))[0], next(iter(data.train_dataloader()))[0])
    known = set(everything(data.train_dataloader())[0][:, 0, 0].tolist())
    assert {value for sequences in warmup for value in sequences[:, 0, 0].tolist()} <= known
    assert len(next(data.warmup_dataloader(97))[0]) == 96  # all that there are


def test_processes_share_the_batches_of_one(monkeypatch):
    def batches(world_size: int) -> list[torch.Tensor]:
        shares = []
        for rank in range(world_size):
            data = benchmark("copy_first_input", **SMALL)
            data.trainer = SimpleNamespace(world_size=world_size, global_rank=rank)
            loaders = data.train_dataloader(), data.val_dataloader(), islice(data.warmup_dataloader(32), 4)
            shares.append([sequences for loader in loaders for sequences, _, _ in loader])
        return [torch.cat(parts) for parts in zip(*shares, strict=True)]

    assert all(torch.equal(one, two) for one, two in zip(batches(1), batches(2), strict=True))


def test_a_batch_that_the_processes_cannot_share_is_refused_by_its_size():
    data = benchmark("copy_first_input", batch_size=30, **SMALL)
    data.trainer = SimpleNamespace(world_size=4, global_rank=0)
    with pytest.raises(ValueError, match=r"batch_size=30: .* \(4\)"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("copy_first_input", {"seq_length": 1}, "seq_length=1: must be whole number >= 2"),
        ("copy_first_input", {"test_lengths": (20, 1)}, "test_lengths=1: must be list of: whole number >= 2"),
        ("copy_first_input", {"input_size": 0}, "input_size=0: must be whole number >= 1"),
        ("copy_first_input", {"train_size": 0}, "train_size=0: must be whole number >= 1"),
        ("copy_first_input", {"batch_size": 0}, "batch_size=0: must be whole number >= 1"),
        ("denoising", {"val_size": -1}, "val_size=-1: must be whole number >= 1"),
        ("denoising", {"pad_length": 4}, "pad_length=4: must be whole number >= 5"),
        ("denoising", {"seq_length": 9}, "seq_length=9: must be >= .* = 10"),
        ("denoising", {"pad_length": 30, "seq_length": 34}, "seq_length=34: must be >= .* = 35"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        benchmark(name, **settings)
    assert "\n" not in str(error.value)


def test_the_shortest_lengths_work():
    benchmark("copy_first_input", seq_length=2).setup("fit")
    data = benchmark("denoising", seq_length=10, test_lengths=())
    sequences, targets, _ = next(iter(data.val_dataloader()))
    assert torch.equal(targets[..., 0], sequences[:, :5, 0])


def test_a_new_benchmark_is_one_method():
    class Sum(GeneratedDataModule):
        task, input_size, output_size, trivial_loss = "regression", 1, 1, 1.0

        def generate(self, n, length, generator):
            sequences = torch.randn(n, length, self.input_size, generator=generator)
            return sequences, sequences.mean(1, keepdim=True) * length**0.5

    sequences, targets, steps = next(iter(Sum(data.CopyFirstInput(**SMALL)).train_dataloader()))
    assert (sequences.shape, targets.shape, steps.tolist()) == ((32, 20, 1), (32, 1, 1), [19])


@pytest.mark.parametrize("targets", [(8,), (8, 1), (8, 1, 2), (8, 99, 1)])
def test_what_a_benchmark_generates_has_the_shapes_it_promises(targets: tuple[int, ...]) -> None:
    class Wrong(GeneratedDataModule):
        task, input_size, output_size = "regression", 1, 1

        def generate(
            self, n: int, length: int, generator: torch.Generator
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(n, length, 1), torch.zeros(targets)

    with pytest.raises(
        ValueError, match=r"Wrong.generate: must return sequences \(8, 20, 1\) and targets float \(n, K, 1\)"
    ):
        Wrong(data.CopyFirstInput(seq_length=20, train_size=8)).split("train")
