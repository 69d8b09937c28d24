"""States of recurrent layers: a tensor, or a tuple of tensors as for an LSTM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_warmup.engine.gates import as_tuple

State: TypeAlias = Tensor | tuple[Tensor, ...]
"""Tensors of shape ``(L, B, H)``; L is 1 for a single layer."""


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Apply ``function`` to the corresponding tensors of ``states``."""
    if isinstance(states[0], tuple):
        return tuple(function(*tensors) for tensors in zip(*states, strict=True))
    return function(*states)


def state_of_layer(states: State | None, index: int) -> State | None:
    """Return the state of one layer, ``(1, B, H)``, of those of all, ``(L, B, H)``; None stays None."""
    return None if states is None else map_state(lambda tensor: tensor[index : index + 1], states)


def state_of_all(states: Sequence[State]) -> State:
    """Return the states of layers, ``(1, B, H)`` each, as one, ``(L, B, H)``."""
    return map_state(lambda *tensors: torch.cat(tensors), *states)


def flatten_state(state: State) -> Tensor:
    """Concatenate the tensors of a state: ``(L, B, H)`` each, to ``(B, sum of L * H)``."""
    return torch.cat([tensor.transpose(0, 1).flatten(1) for tensor in as_tuple(state)], dim=1)
