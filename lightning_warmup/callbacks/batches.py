"""Where a callback takes the sequences of a fit from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from lightning_warmup._compat import training_data
from lightning_warmup.distributed import rank, world_size
from lightning_warmup.procedures import Batch, require

ToSequences = Callable[[Any], "Tensor | tuple[Tensor, Tensor]"]
"""A function that turns a batch into sequences or ``(sequences, lengths)``, laid out as the network takes them."""


def first_element(batch: Any) -> Tensor:
    """Return the sequences of a batch: its first element, or the batch itself if it is a tensor.

    Raises:
        ValueError: If that is no batch of sequences.
    """
    first = batch[0] if isinstance(batch, (tuple, list)) else batch
    if isinstance(first, Tensor) and first.dim() == 3:
        return first
    kind = f"shape {tuple(first.shape)}" if isinstance(first, Tensor) else type(first).__name__
    raise ValueError(
        f"a batch begins with {kind}, not with sequences of 3 axes: pass sequences=..., a function"
    )


def to_device(batch: Any, to_sequences: ToSequences, trainer: Trainer, module: LightningModule) -> Batch:
    """Return a batch's sequences and their lengths or None, on the module's device and in its precision."""
    batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch), module.device)
    sequences = to_sequences(batch)
    return sequences if isinstance(sequences, tuple) else (sequences, None)


def sequence_batches(
    trainer: Trainer, module: LightningModule, to_sequences: ToSequences, batch_size: int, seed: int
) -> Iterator[Batch]:
    """Yield training sequences and their lengths or None, batch after batch without end.

    They come from the datamodule's ``warmup_dataloader(batch_size)`` if it has one; else from a shuffled loader
    over the training data of the fit, wherever they are given. A loader over an iterable dataset is used as it is.

    ``batch_size`` counts the sequences of all processes, ``seed`` is that of the order.

    Raises:
        ValueError: If the batch does not divide by the number of processes, or there are too few samples.
    """
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if hasattr(datamodule, "warmup_dataloader"):
        loader = datamodule.warmup_dataloader(batch_size)
    else:
        loader = _own_loader(training_data(trainer), batch_size, seed)
    while True:
        batch = None
        for batch in loader:
            yield to_device(batch, to_sequences, trainer, module)
        if batch is None:
            raise ValueError("the training data hold no batch to take sequences from")


def _own_loader(loader: Any, batch_size: int, seed: int) -> Any:
    """Return a shuffled loader over this process's share of a loader's data; other iterables stay as they are."""
    divides = batch_size % world_size() == 0
    require("batch_size", batch_size, divides, f"divisible by the {world_size()} processes")
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    data: Any = loader.dataset
    enough = batch_size <= len(data)  # on every process, or one would wait for the others
    require("batch_size", batch_size, enough, f"at most the {len(data)} samples of the training data")
    rows, share = range(rank(), len(data), world_size()), batch_size // world_size()
    order = torch.Generator().manual_seed(seed)
    collate = loader.collate_fn
    return DataLoader(Subset(data, rows), share, True, drop_last=True, collate_fn=collate, generator=order)
