"""What is done to a recurrent network before, or beside, its training; here what all procedures share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lightning_warmup.networks.layout import batch_first

Batch = tuple[Tensor, Tensor | None]
"""Sequences, and the steps of each, ``(B,)``, or None."""


def time_first(rnn: object, sequences: Tensor) -> Tensor:
    """Return sequences that are laid out as the network takes them as ``(T, B, I)``."""
    return sequences.transpose(0, 1) if batch_first(rnn) else sequences


def require(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise a ValueError that names a setting, its value and what is allowed, unless that holds."""
    if not holds:
        value = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else value
        raise ValueError(f"{name}={value}: must be {allowed}")


def shuffled(
    sequences: Tensor, lengths: Tensor | None, batch_dim: int, batch_size: int, seed: int
) -> Iterator[Batch]:
    """Yield batches of whole size in random order, without end."""
    order = torch.Generator().manual_seed(seed)
    number = sequences.shape[batch_dim]
    while True:
        for rows in torch.randperm(number, generator=order).split(batch_size)[: number // batch_size]:
            rows = rows.to(sequences.device)
            selected = None if lengths is None else lengths[rows.to(lengths.device)]
            yield sequences.index_select(batch_dim, rows), selected
