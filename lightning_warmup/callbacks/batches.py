"""Where a callback takes the sequences of a fit from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from itertools import chain, islice, repeat
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset

from lightning_warmup._compat import on_device, training_loader
from lightning_warmup.callbacks.observed import given, observed, without_a_trace
from lightning_warmup.callbacks.unchanged import unchanged
from lightning_warmup.distributed import fewest, gather_batch, rank, world_size
from lightning_warmup.networks.observed import NoSequences
from lightning_warmup.procedures import require
from lightning_warmup.procedures.sequences import Batch, check_device, time_first

ToSequences = Callable[..., "Tensor | tuple[Tensor, Tensor]"]
"""A function from a batch, or a batch and the module, to sequences or ``(sequences, lengths)``, laid out as the
network takes them."""

Row = tuple[Tensor, "Tensor | None"]
"""One sequence, ``(T, I)``, and its length or None."""

WITHOUT = 100
"""Batches in a row without a sequence of which the last one is an error."""


def sequences_of(
    trainer: Trainer, module: LightningModule, rnn: nn.Module, to_sequences: ToSequences | None, batch: Any
) -> Batch:
    """Return the sequences of a batch that a training step is given, ``(T, B, I)``, and their lengths or None.

    Without a function they are those that the network is given in the training step, see
    :func:`lightning_warmup.callbacks.observed.observed`.

    Raises:
        ValueError: If there are none, or the function returns something else.
    """
    if to_sequences is None:
        sequences, lengths = observed(trainer, module, rnn, batch)
        return time_first(rnn, sequences), lengths
    with without_a_trace(trainer, module):
        found = to_sequences(batch, module) if _takes_module(to_sequences) else to_sequences(batch)
    sequences, lengths = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    if not isinstance(sequences, Tensor) or sequences.dim() != 3:
        shape = f" {tuple(sequences.shape)}" if isinstance(sequences, Tensor) else ""
        wanted = "must return a tensor of 3 axes, or (sequences, lengths)"
        raise ValueError(
            f"sequences={_name(to_sequences)}: {wanted}, not a {type(sequences).__name__}{shape}"
        )
    check_device(rnn, sequences)
    return time_first(rnn, sequences), lengths


def sequence_batches(
    trainer: Trainer,
    module: LightningModule,
    rnn: nn.Module,
    to_sequences: ToSequences | None,
    batch_size: int,
    seed: int,
) -> Generator[Batch]:
    """Yield the global batches, the same on every process, without end; close it after use.

    They come from the datamodule's ``warmup_dataloader(batch_size)`` if it has one; else from the batches that the
    training will see, wherever they are given: the rows of each are put into random order, then cut and joined to
    batches of ``batch_size``. Data with fewer rows give batches of all that there are. Joined sequences of
    different lengths are cut to the shortest where their lengths are not known. Batches without sequences are left
    out, see :class:`lightning_warmup.networks.observed.NoSequences`.

    ``batch_size`` counts the sequences of all processes, ``seed`` is that of the order. The global random streams
    are set: isolate them. What module, datamodule and data hold is put back, see
    :func:`lightning_warmup.callbacks.unchanged.unchanged`; a ``warmup_dataloader`` takes care of itself.

    Raises:
        ValueError: If the batch does not divide by the number of processes, or the data hold fewer than two
            sequences, or can be read only once.
    """

    def take(batch: Any) -> Batch:
        return sequences_of(trainer, module, rnn, to_sequences, on_device(trainer, batch))

    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if hasattr(datamodule, "warmup_dataloader"):
        loader = datamodule.warmup_dataloader(batch_size)
        while True:
            yield from map(gather_batch, _one_pass(map(take, loader)))
    divides = batch_size % world_size() == 0
    require("batch_size", batch_size, divides, f"divisible by the {world_size()} processes")
    torch.manual_seed(seed + rank())
    with unchanged([module, datamodule, to_sequences], but=rnn):
        loader = training_loader(trainer)
        with unchanged([loader], but=rnn):
            if isinstance(rnn, nn.RNNCellBase) and to_sequences is not None:
                _check_layout(trainer, module, rnn, to_sequences, on_device(trainer, next(iter(loader))[0]))
            try:
                share = batch_size // world_size()
                yield from map(gather_batch, _cut_and_joined(trainer, loader, take, share, seed))
            finally:
                loader.reset()


def _cut_and_joined(
    trainer: Trainer, loader: CombinedLoader, take: Callable[[Any], Batch], share: int, seed: int
) -> Iterator[Batch]:
    """Yield this process's share of batches, the same number of rows on every process and each time."""
    for data in loader.flattened:
        _refuse_read_once(data)
    order = torch.Generator().manual_seed(seed)
    passes = (_one_pass(_rows(loader, take, order)) for _ in repeat(None))
    first = next(passes)
    rows = list(islice(first, share))
    share = fewest(len(rows), trainer.strategy.root_device)
    total = share * world_size()
    require("batch_size", total, total > 1, "at least 2, so many sequences the training data must hold")
    endless = chain(rows, first, chain.from_iterable(passes))
    while True:
        yield _joined(list(islice(endless, share)))


def _check_layout(
    trainer: Trainer, module: LightningModule, rnn: nn.Module, to_sequences: ToSequences, batch: Any
) -> None:
    """Refuse sequences for a cell with the batch first, which can be told by the batch that the cell is given."""
    sequences, _ = sequences_of(trainer, module, rnn, to_sequences, batch)
    try:
        input = given(trainer, module, rnn, batch)
    except ValueError:  # it can't be told
        return
    length, count, size = sequences.shape
    if isinstance(input, Tensor) and input.dim() == 2 and length == len(input) != count:
        wanted = f"must return (T, B, I), time first, with B={length} as the {type(rnn).__name__} is given"
        raise ValueError(f"sequences={_name(to_sequences)}: {wanted}, not ({length}, {count}, {size})")


def _name(function: ToSequences) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _takes_module(function: ToSequences) -> bool:
    """Return whether a function wants the module beside the batch: it has two parameters without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # of a builtin
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is p.empty and p.kind in positional for p in parameters) == 2


def _refuse_read_once(data: Any) -> None:
    """Refuse data that go on where they were read last, instead of starting anew."""
    if isinstance(data, DataLoader):
        if not isinstance(data.dataset, IterableDataset):
            return
        data = data.dataset
    if not hasattr(data, "__len__") and not _starts_anew(data):
        found = f"the training data are a {type(data).__name__}"
        raise ValueError(f"{found}, which can be read only once: must be data that can be read again")


def _starts_anew(data: Any) -> bool:
    """Return whether ``iter`` starts data anew; those that are their own iterator must change something by it."""
    if (iterator := iter(data)) is not iter(data):
        return True
    if iterator is not data or not hasattr(data, "__dict__"):
        return False
    next(iterator, None)
    before = dict(vars(data))
    iter(data)
    return any(before.get(name) is not value for name, value in vars(data).items())


def _one_pass(items: Iterator[Any]) -> Iterator[Any]:
    """Yield what there is, which must not be nothing."""
    item = None
    for item in items:
        yield item
    if item is None:
        raise ValueError("the training data hold no batch to take sequences from, or can be read only once")


def _rows(loader: CombinedLoader, take: Callable[[Any], Batch], order: torch.Generator) -> Iterator[Row]:
    """Yield the sequences of a loader, those of each batch in random order, each ``(T, I)``, cut to its length."""
    batches, without, any_found = iter(loader), 0, False
    for batch, _, _ in islice(batches, sized_len(loader)):  # only now does it know how many there are
        try:
            sequences, lengths = take(batch)
        except NoSequences as error:
            missed, without = error, without + 1
            if without == WITHOUT:
                break
            continue
        without, any_found = 0, True
        for row in torch.randperm(sequences.shape[1], generator=order).tolist():
            sequence = sequences[:, row]
            yield (sequence, None) if lengths is None else (sequence[: lengths[row]], lengths[row])
    if without == WITHOUT or (without and not any_found):
        raise missed


def _joined(rows: list[Row]) -> Batch:
    """Return rows as a batch; see :func:`sequence_batches`."""
    sequences = [sequence for sequence, _ in rows]
    lengths = [length for _, length in rows if length is not None]
    if lengths:
        return pad_sequence(sequences), torch.stack(lengths)
    shortest = min(map(len, sequences))
    return torch.stack([sequence[:shortest] for sequence in sequences], 1), None
