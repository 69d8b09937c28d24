"""States of recurrent layers: a tensor, or a tuple of tensors as those of an LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

State: TypeAlias = Tensor | tuple[Tensor, ...]
"""Tensors of shape ``(D, B, H)``; D is the number of layers, 1 for a single one."""


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Applies ``function`` to the corresponding tensors of ``states``."""
    if isinstance(states[0], tuple):
        return tuple(function(*tensors) for tensors in zip(*states, strict=True))
    return function(*states)


def flatten_state(state: State) -> Tensor:
    """Concatenates the tensors of a state: ``(D, B, H)`` each, to ``(B, sum of D * H)``."""
    tensors = state if isinstance(state, tuple) else (state,)
    return torch.cat([tensor.transpose(0, 1).flatten(1) for tensor in tensors], dim=1)
