"""Puts modules into training or eval mode for a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(rnn: nn.Module | Iterable[object], training: bool) -> Iterator[None]:
    """Put a module, or those in a list, into training or eval mode, and afterwards each part back into its own."""
    parts = [rnn] if isinstance(rnn, nn.Module) else rnn
    modes = {m: m.training for part in parts if isinstance(part, nn.Module) for m in part.modules()}
    try:
        for module in modes:
            module.training = training
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
