"""Where a callback takes the sequences of a fit from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
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
from lightning_warmup.callbacks.observed import observed, without_a_trace
from lightning_warmup.distributed import fewest, gather_batch, rank, world_size
from lightning_warmup.procedures import require
from lightning_warmup.procedures.sequences import Batch, time_first

ToSequences = Callable[..., "Tensor | tuple[Tensor, Tensor]"]
"""A function from a batch, or a batch and the module, to sequences or ``(sequences, lengths)``, laid out as the
network takes them."""

Row = tuple[Tensor, "Tensor | None"]
"""One sequence, ``(T, I)``, and its length or None."""


def sequences_of(
    trainer: Trainer, module: LightningModule, rnn: nn.Module, to_sequences: ToSequences | None, batch: Any
) -> Batch:
    """Return the sequences of a batch that a training step is given, ``(T, B, I)``, and their lengths or None.

    Without a function they are those that the network is given in the training step, see
    :func:`lightning_warmup.callbacks.observed.observed`.
    """
    if to_sequences is None:
        sequences, lengths = observed(trainer, module, rnn, batch)
    else:
        with without_a_trace(trainer, module):
            found = to_sequences(batch, module) if _takes_module(to_sequences) else to_sequences(batch)
        sequences, lengths = found if isinstance(found, tuple) else (found, None)
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
    different lengths are cut to the shortest where their lengths are not known.

    ``batch_size`` counts the sequences of all processes, ``seed`` is that of the order. The global random streams
    are set: isolate them.

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
    yield from map(gather_batch, _cut_and_joined(trainer, take, batch_size // world_size(), seed))


def _cut_and_joined(trainer: Trainer, take: Callable[[Any], Batch], share: int, seed: int) -> Iterator[Batch]:
    """Yield this process's share of batches, the same number of rows on every process and each time."""
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed + rank())
    with _read(training_loader(trainer)) as loader:
        passes = (_one_pass(_rows(loader, take, order)) for _ in repeat(None))
        first = next(passes)
        rows = list(islice(first, share))
        share = fewest(len(rows), trainer.strategy.root_device)
        total = share * world_size()
        require("batch_size", total, total > 1, "at least 2, so many sequences the training data must hold")
        endless = chain(rows, first, chain.from_iterable(passes))
        while True:
            yield _joined(list(islice(endless, share)))


def _takes_module(function: ToSequences) -> bool:
    """Return whether a function wants the module beside the batch: it has two parameters without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # of a builtin
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is p.empty and p.kind in positional for p in parameters) == 2


@contextmanager
def _read(loader: CombinedLoader) -> Iterator[CombinedLoader]:
    """Let a loader be read, and leave no workers of it, nor its own generators moved on."""
    for data in loader.flattened:
        _refuse_read_once(data)
    parts = [part for data in loader.flattened for part in (data, *_samplers(data))]
    found = [getattr(part, "generator", None) for part in parts]
    generators = [generator for generator in found if isinstance(generator, torch.Generator)]
    states = [generator.get_state() for generator in generators]
    try:
        yield loader
    finally:
        loader.reset()
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _samplers(data: Any) -> Iterator[Any]:
    """Yield the samplers of a loader, each the ``sampler`` of the one before."""
    for name in ("sampler", "batch_sampler"):
        sampler = getattr(data, name, None)
        while sampler is not None:
            yield sampler
            sampler = getattr(sampler, "sampler", None)


def _refuse_read_once(data: Any) -> None:
    """Refuse what gives the same iterator again and again; a length tells of a loader that starts anew."""
    if isinstance(data, DataLoader):
        if not isinstance(data.dataset, IterableDataset):
            return
        data = data.dataset
    if not hasattr(data, "__len__") and iter(data) is iter(data):
        found = f"the training data are a {type(data).__name__}"
        raise ValueError(f"{found}, which can be read only once: must be data that can be read again")


def _one_pass(items: Iterator[Any]) -> Iterator[Any]:
    """Yield what there is, which must not be nothing."""
    item = None
    for item in items:
        yield item
    if item is None:
        raise ValueError("the training data hold no batch to take sequences from, or can be read only once")


def _rows(loader: CombinedLoader, take: Callable[[Any], Batch], order: torch.Generator) -> Iterator[Row]:
    """Yield the sequences of a loader, those of each batch in random order, each ``(T, I)``, cut to its length."""
    batches = iter(loader)
    for batch, _, _ in islice(batches, sized_len(loader)):  # only now does it know how many there are
        sequences, lengths = take(batch)
        for row in torch.randperm(sequences.shape[1], generator=order).tolist():
            sequence = sequences[:, row]
            yield (sequence, None) if lengths is None else (sequence[: lengths[row]], lengths[row])


def _joined(rows: list[Row]) -> Batch:
    """Return rows as a batch; see :func:`sequence_batches`."""
    sequences = [sequence for sequence, _ in rows]
    lengths = [length for _, length in rows if length is not None]
    if lengths:
        return pad_sequence(sequences), torch.stack(lengths)
    shortest = min(map(len, sequences))
    return torch.stack([sequence[:shortest] for sequence in sequences], 1), None
