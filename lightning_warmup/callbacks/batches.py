"""Takes sequences from the training data of a fit, for callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from itertools import chain, count, islice, repeat
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset

from lightning_warmup._compat import on_device, training_loader
from lightning_warmup.callbacks.training_step import TooEarly, given, observed, without_a_trace
from lightning_warmup.callbacks.unchanged import unchanged
from lightning_warmup.distributed import fewest, gather_batch, rank, world_size
from lightning_warmup.dynamics.reachable import cut_lengths
from lightning_warmup.networks.layout import time_first
from lightning_warmup.networks.observed import NoSequences
from lightning_warmup.procedures import require
from lightning_warmup.procedures.sequences import Batch, check_device

ToSequences = Callable[..., "Tensor | tuple[Tensor, Tensor]"]
"""A function from ``batch`` or ``(batch, module)`` to sequences or ``(sequences, lengths)``, with the axes that the
network expects."""

Row = tuple[Tensor, bool]
"""One sequence, ``(T, I)``, and whether its length was given."""

WITHOUT = 100
"""After this many batches in a row without a sequence, the last one is an error."""


def sequences_of(
    trainer: Trainer,
    module: LightningModule,
    rnn: nn.Module,
    to_sequences: ToSequences | None,
    batch: Any,
    batch_idx: int = 0,
) -> Batch:
    """Return the sequences of a training batch, ``(T, B, I)``, and their lengths or None.

    Without ``to_sequences``, these are the inputs of the network in the training step, see
    :func:`lightning_warmup.callbacks.training_step.observed`.

    Raises:
        ValueError: If there are no sequences, or the function returns something else.
    """
    if to_sequences is None:
        sequences, lengths = observed(trainer, module, rnn, batch, batch_idx)
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
    """Yield global batches without end, the same on every process; close the generator after use.

    Batches come from the datamodule's ``warmup_dataloader(batch_size)`` if there is one. Otherwise they come from
    the training data: the sequences of each training batch are shuffled, then cut and joined to batches of
    ``batch_size`` sequences over all processes, or of all sequences if there are fewer. If joined sequences differ
    in length, each is cut within its own, at random unless lengths are given. Batches without sequences are left
    out, see :class:`lightning_warmup.networks.observed.NoSequences`.

    This seeds the global random streams, so isolate them. Afterwards, module, datamodule and data are as before,
    see :func:`lightning_warmup.callbacks.unchanged.unchanged`; a ``warmup_dataloader`` must do that itself.

    Raises:
        ValueError: If the processes can't share a batch evenly, or the data have fewer than two sequences, or can
            be read only once.
    """

    def take(batch: Any, batch_idx: int) -> Batch:
        given = on_device(trainer, _copied(batch))  # the step may change it in place
        return sequences_of(trainer, module, rnn, to_sequences, given, batch_idx)

    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if hasattr(datamodule, "warmup_dataloader"):
        loader = datamodule.warmup_dataloader(batch_size)
        while True:
            yield from map(gather_batch, _one_pass(map(take, loader, count())))
    divides = batch_size % world_size() == 0
    require("batch_size", batch_size, divides, f"divisible by the {world_size()} processes")
    torch.manual_seed(seed + rank())
    with unchanged([module, datamodule, to_sequences], but=rnn):
        loader = training_loader(trainer)
        with unchanged([loader], but=rnn):
            if isinstance(rnn, nn.RNNCellBase) and to_sequences is not None:
                first = on_device(trainer, _copied(next(iter(loader))[0]))
                _check_layout(trainer, module, rnn, to_sequences, first)
            try:
                share = batch_size // world_size()
                yield from map(gather_batch, _cut_and_joined(trainer, loader, take, share, seed))
            finally:
                loader.reset()


def _copied(batch: Any) -> Any:
    """Return a batch with copies of its tensors and arrays; what is no plain container stays as it is."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, np.ndarray):
        return batch.copy()
    if type(batch) is dict:
        return {key: _copied(value) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(map(_copied, batch))
    return type(batch)(*map(_copied, batch)) if hasattr(batch, "_fields") else batch  # a named tuple


def _cut_and_joined(
    trainer: Trainer, loader: CombinedLoader, take: Callable[[Any, int], Batch], share: int, seed: int
) -> Iterator[Batch]:
    """Yield the share of this process in each batch; every share has the same number of sequences."""
    for data in loader.flattened:
        _refuse_read_once(data)
    order = torch.Generator().manual_seed(seed)
    passes = (_one_pass(_rows(loader, take, order)) for _ in repeat(None))
    first = next(passes)
    rows, early = list[Row](), None
    try:
        rows += islice(first, share)
    except TooEarly as error:
        early = error
    # All processes wait for the first batch, or none does.
    if fewest(0 if early else 1, trainer.strategy.root_device) == 0:
        raise early or TooEarly(
            "sequences=None: the training step of another process fails before the network"
        )
    share = fewest(len(rows), trainer.strategy.root_device)
    total = share * world_size()
    require("sequences", total, total > 1, "at least 2 in the training data, and as many in each process")
    endless = chain(rows, first, chain.from_iterable(passes))
    while True:
        try:
            following = list(islice(endless, share))
        except TooEarly as error:  # not too early: it has worked before
            raise error.__cause__ or error from None
        yield _joined(following, order)


def _check_layout(
    trainer: Trainer, module: LightningModule, rnn: nn.Module, to_sequences: ToSequences, batch: Any
) -> None:
    """Refuse batch-first sequences for a cell; its input in the training step tells the batch size."""
    sequences, _ = sequences_of(trainer, module, rnn, to_sequences, batch)
    try:
        input = given(trainer, module, rnn, batch)
    except ValueError:  # unknown
        return
    length, count, size = sequences.shape
    if isinstance(input, Tensor) and input.dim() == 2 and length == len(input) != count:
        wanted = f"must return (T, B, I), time first; the {type(rnn).__name__} gets B={length}"
        raise ValueError(f"sequences={_name(to_sequences)}: {wanted}, not ({length}, {count}, {size})")


def _name(function: ToSequences) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _takes_module(function: ToSequences) -> bool:
    """Return whether a function takes the module too: it has two parameters without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is p.empty and p.kind in positional for p in parameters) == 2


def _refuse_read_once(data: Any) -> None:
    """Refuse data that can't start again from the beginning."""
    if isinstance(data, DataLoader):
        if not isinstance(data.dataset, IterableDataset):
            return
        data = data.dataset
    if not hasattr(data, "__len__") and not _starts_anew(data):
        found = f"the training data are a {type(data).__name__}"
        raise ValueError(f"{found}, which can be read only once: must be data that can be read again")


def _starts_anew(data: Any) -> bool:
    """Return whether ``iter`` starts data anew; if data are their own iterator, it must change an attribute."""
    if (iterator := iter(data)) is not iter(data):
        return True
    if iterator is not data or not hasattr(data, "__dict__"):
        return False
    next(iterator, None)
    before = dict(vars(data))
    iter(data)
    return any(before.get(name) is not value for name, value in vars(data).items())


def _one_pass(items: Iterator[Any]) -> Iterator[Any]:
    """Yield all items; raise a ValueError if there are none."""
    item = None
    for item in items:
        yield item
    if item is None:
        raise ValueError("the training data have no batch to take sequences from, or can be read only once")


def _rows(loader: CombinedLoader, take: Callable[[Any, int], Batch], order: torch.Generator) -> Iterator[Row]:
    """Yield the sequences of a loader, ``(T, I)`` each, cut to its length; each batch is shuffled."""
    batches, without, any_found = iter(loader), 0, False
    for batch, batch_idx, _ in islice(batches, sized_len(loader)):  # the length is known only after ``iter``
        try:
            sequences, lengths = take(batch, batch_idx)
        except NoSequences as error:
            missed, without = error, without + 1
            if without == WITHOUT:
                break
            continue
        without, any_found = 0, True
        for row in torch.randperm(sequences.shape[1], generator=order).tolist():
            sequence = sequences[:, row]
            yield (sequence, False) if lengths is None else (sequence[: lengths[row]], True)
    if without == WITHOUT or (without and not any_found):
        raise missed


def _joined(rows: list[Row], order: torch.Generator) -> Batch:
    """Join sequences to a batch, see :func:`sequence_batches`."""
    sequences = [sequence for sequence, _ in rows]
    ends = [len(sequence) for sequence in sequences]
    if not any(is_known for _, is_known in rows):
        if min(ends) == max(ends):
            return torch.stack(sequences, 1), None
        # Cut at random, as where all are of one length.
        ends = [int(cut_lengths(1, end, order)) for end in ends]
    return pad_sequence(sequences), torch.tensor(ends, device=sequences[0].device)
