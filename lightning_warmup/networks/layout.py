"""Whether a network takes its sequences time first or batch first."""

from __future__ import annotations

from torch import Tensor, nn


def batch_first(rnn: object) -> bool:
    """Return whether a network takes sequences ``(B, T, I)`` instead of ``(T, B, I)``.

    A list of layers or a ``ModuleList`` takes them as its members do.

    Raises:
        ValueError: If the members of a list differ.
    """
    if not isinstance(rnn, (nn.ModuleList, list, tuple)):
        return bool(getattr(rnn, "batch_first", False))
    flags = [batch_first(layer) for layer in rnn]
    if len(set(flags)) > 1:
        raise ValueError(f"batch_first={flags}: must be the same for all layers of a list")
    return any(flags)


def time_first(rnn: object, sequences: Tensor) -> Tensor:
    """Return sequences that are laid out as the network takes them as ``(T, B, I)``."""
    return sequences.transpose(0, 1) if batch_first(rnn) else sequences
