"""Finds the sequences that reach a recurrent network inside a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils.hooks import RemovableHandle

from lightning_warmup.networks.layout import batch_first

ASK = "pass sequences=..., a function"


class NoSequences(ValueError):
    """The call did not reach the network, or gave it a single step."""


class _Stop(BaseException):
    """Ends a call at the network; an ``except Exception`` on the way does not catch it."""


def watch(rnn: nn.Module, see: Callable[[Any], object]) -> RemovableHandle:
    """Show ``see`` the input of every call of a network, before it runs, until the handle is removed."""

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        see(args[0] if args else kwargs.get("input", next(iter(kwargs.values()), None)))

    return rnn.register_forward_pre_hook(look, with_kwargs=True)


def observe(rnn: nn.Module, call: Callable[[], object]) -> tuple[Tensor, Tensor | None]:
    """Return the first sequences that a call gives a network, and their lengths or None.

    The call ends when it reaches the network, which does not run. What comes before it runs without a gradient.

    Args:
        rnn: The network.
        call: A function that calls the network, such as ``lambda: model(batch)``.

    Returns:
        Sequences in the layout and precision of the network, ``(T, B, I)`` or ``(B, T, I)``, without a gradient;
        lengths ``(B,)`` if the network was given a packed sequence.

    Raises:
        NoSequences: If the network is not called, or is given a single step.
        ValueError: If what it is given are no sequences.

    Examples:
        >>> rnn = torch.nn.GRU(1, 4)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 1), rnn)
        >>> sequences, lengths = observe(rnn, lambda: model(torch.randn(20, 8, 3)))
        >>> sequences.shape
        torch.Size([20, 8, 1])
    """
    return as_sequences(rnn, first_input(rnn, call))


def first_input(rnn: nn.Module, call: Callable[[], object]) -> Any:
    """Return the first input that a call gives a network, and end the call there; see :func:`observe`."""
    seen: list[Any] = []

    def stop(input: Any) -> NoReturn:
        seen.append(input)
        raise _Stop

    handle = watch(rnn, stop)
    eager = torch.compiler.set_stance("force_eager")  # a compiled call would pass the hook by
    try:
        with torch.no_grad(), eager:
            call()
    except _Stop:
        return seen[0]
    finally:
        handle.remove()
    raise NoSequences(f"sequences=None: the {type(rnn).__name__} is not called as a module: {ASK}")


def as_sequences(rnn: nn.Module, input: Any) -> tuple[Tensor, Tensor | None]:
    """Return an input of a network as :func:`observe` does."""
    lengths = None
    if isinstance(input, PackedSequence):
        input, lengths = pad_packed_sequence(input, batch_first(rnn))
    name = type(rnn).__name__
    if not isinstance(input, Tensor) or input.dim() != 3 or not input.is_floating_point():
        kind = (
            f"shape {tuple(input.shape)} of {input.dtype}"
            if isinstance(input, Tensor)
            else type(input).__name__
        )
        raise ValueError(
            f"sequences=None: the {name} is given {kind}, must be floating-point sequences of 3 axes: {ASK}"
        )
    if input.shape[1 if batch_first(rnn) else 0] == 1:
        raise NoSequences(
            f"sequences=None: the {name} is given one step at a time, must be whole sequences: {ASK}"
        )
    weights = (p for p in rnn.parameters() if p.is_floating_point())
    input = input.detach().to(next(weights, input).dtype)
    return input, None if lengths is None else lengths.to(input.device)
