"""States of recurrent layers: a tensor, or a tuple of tensors as for an LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

State: TypeAlias = Tensor | tuple[Tensor, ...]
"""Tensors of shape ``(L, B, H)``; L is 1 for a single layer."""


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Apply ``function`` to the corresponding tensors of ``states``."""
    if isinstance(states[0], tuple):
        return tuple(function(*tensors) for tensors in zip(*states, strict=True))
    return function(*states)


def flatten_state(state: State) -> Tensor:
    """Concatenate the tensors of a state: ``(L, B, H)`` each, to ``(B, sum of L * H)``."""
    tensors = state if isinstance(state, tuple) else (state,)
    return torch.cat([tensor.transpose(0, 1).flatten(1) for tensor in tensors], dim=1)
