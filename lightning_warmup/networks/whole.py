"""Runs any recurrent module through torch's call, and says what is wrong with the module if that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.engine.state import State
from lightning_warmup.networks.layout import batch_first

STATE_SHAPES = "a tensor (L, B, H) or (B, H), or nested tuples of such tensors"


class Whole:
    """A recurrent module with torch's call ``output, h_n = rnn(input, h_0)``, run as one layer, time first.

    The module's states may be nested, and may be ``(B, H)`` instead of ``(L, B, H)``. This class gives and takes
    them as a :data:`State`: one tensor ``(L, B, H)`` or a flat tuple of them.

    Args:
        rnn: The module. Its ``batch_first`` and ``input_size`` count if it has them.

    Raises:
        ValueError: At a call, if the module has another signature, number of features or kind of state.
    """

    def __init__(self, rnn: nn.Module) -> None:
        size = getattr(rnn, "input_size", None)
        self.input_size = size if isinstance(size, int) else None
        self._rnn, self._batch_first = rnn, batch_first(rnn)
        self._form: Any = None  # nested as the module's states are, with the number of axes for each tensor

    def __call__(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        if self.input_size is not None:
            require_features(input, self.input_size)
        if state is not None and self._form is not None:
            state = _shaped(self._form, iter(state if isinstance(state, tuple) else (state,)))
        elif self._form is None and len(input) == input.size(1) > 1:
            with torch.no_grad():  # where T is B, swapped axes would go unnoticed
                self._run(input[:-1], None)
        return self._run(input, state)

    def _run(self, input: Tensor, state: Any) -> tuple[Tensor, State]:
        output, new = self._call(input.transpose(0, 1) if self._batch_first else input, state)
        output = output.transpose(0, 1) if self._batch_first else output
        if output.dim() != 3 or output.shape[:2] != input.shape[:2]:
            shapes = f"{tuple(output.shape)} for an input {tuple(input.shape)}, time first"
            raise ValueError(f"{self._name}: must return the output of every step, not {shapes}")
        tensors: list[Tensor] = []
        self._form = self._flatten(new, input.size(1), tensors)
        return output, tensors[0] if isinstance(new, Tensor) else tuple(tensors)

    @property
    def _name(self) -> str:
        return f"network={type(self._rnn).__name__}"

    def _call(self, input: Tensor, state: Any) -> tuple[Tensor, Any]:
        wanted = "must be called as output, h_n = rnn(input, h_0)"
        try:
            result = self._rnn(input, state)
        except TypeError as error:
            raise ValueError(f"{self._name}: {wanted}, which failed: {error}") from error
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor):
            return result
        raise ValueError(f"{self._name}: {wanted}, but returned a {type(result).__name__}")

    def _flatten(self, state: Any, batch: int, tensors: list[Tensor]) -> Any:
        """Append the tensors of a state, ``(L, B, H)`` each; return its form."""
        if isinstance(state, (tuple, list)) and len(state):
            return _like(state, [self._flatten(part, batch, tensors) for part in state])
        if not isinstance(state, Tensor):
            raise ValueError(f"{self._name}: its state must be {STATE_SHAPES}, not {type(state).__name__}")
        if state.dim() not in (2, 3) or state.size(-2) != batch:
            first = self._batch_first
            shape = (
                f"not of shape {tuple(state.shape)} for a batch of {batch}; is its batch_first={first} true?"
            )
            raise ValueError(f"{self._name}: its state must be {STATE_SHAPES}, {shape}")
        tensors.append(state if state.dim() == 3 else state.unsqueeze(0))
        return state.dim()


def _shaped(form: Any, tensors: Iterator[Tensor]) -> Any:
    """Return tensors ``(L, B, H)`` in the form of a module's states."""
    if isinstance(form, (tuple, list)):
        return _like(form, [_shaped(part, tensors) for part in form])
    tensor = next(tensors)
    return tensor if form == 3 else tensor.squeeze(0)


def _like(parts: Any, new: list[Any]) -> Any:
    """Return new parts in a tuple, a named tuple or a list, as the old ones were."""
    return type(parts)(*new) if hasattr(parts, "_fields") else type(parts)(new)


def require_features(input: Tensor, size: int) -> None:
    """Raise a ValueError unless an input ``(T, B, I)`` has as many features as a network takes."""
    if input.size(-1) != size:
        raise ValueError(f"sequences have {input.size(-1)} features: must be {size}, as the network takes")
