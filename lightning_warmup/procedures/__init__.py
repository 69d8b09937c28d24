"""What is done to a recurrent network before, or beside, its training; here what all procedures share."""

from __future__ import annotations

from torch import Tensor

Batch = tuple[Tensor, Tensor | None]
"""Sequences, and the steps of each, ``(B,)``, or None."""


def time_first(rnn: object, sequences: Tensor) -> Tensor:
    """Return sequences that are laid out as the network takes them as ``(T, B, I)``."""
    return sequences.transpose(0, 1) if getattr(rnn, "batch_first", False) else sequences


def require(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise a ValueError that names a setting, its value and what is allowed, unless that holds."""
    if not holds:
        value = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else value
        raise ValueError(f"{name}={value}: must be {allowed}")
