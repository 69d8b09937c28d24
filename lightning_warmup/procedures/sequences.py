"""The sequences that a procedure is given, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lightning_warmup.dynamics.reachable import check_finite

Batch = tuple[Tensor, Tensor | None]
"""Sequences ``(T, B, I)`` of all processes, and the steps of each, ``(B,)``, or None."""


class TooFewBatches(ValueError):
    """There are fewer batches than steps."""


def next_batch(batches: Iterator[Batch], procedure: str, step: int, steps: int) -> Batch:
    """Return the batch of a step, from 0, of a procedure such as ``"warmup"`` that takes ``steps`` of them.

    Raises:
        TooFewBatches: If there is none.
        ValueError: If a number is not finite.
    """
    batch = next(batches, None)
    if batch is None:
        raise TooFewBatches(f"steps={steps}: there are only {step} batches")
    check_finite(*batch, f" at {procedure} step {step}")
    return batch


def check_device(rnn: object, sequences: Tensor) -> None:
    """Raise a ValueError if sequences are on another device than the network."""
    parts = rnn if isinstance(rnn, (list, tuple)) else [rnn]
    weights = (weight for part in parts if isinstance(part, nn.Module) for weight in part.parameters())
    device = next((weight.device for weight in weights), sequences.device)
    if sequences.device != device:
        raise ValueError(f"sequences are on {sequences.device}: must be on {device}, where the network is")


def shuffled(sequences: Tensor, lengths: Tensor | None, batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield batches of whole size in random order, without end."""
    order = torch.Generator().manual_seed(seed)
    number = sequences.shape[1]
    while True:
        for rows in torch.randperm(number, generator=order).split(batch_size)[: number // batch_size]:
            selected = None if lengths is None else lengths[rows.to(lengths.device)]
            yield sequences.index_select(1, rows.to(sequences.device)), selected
