"""The states that sequences lead a network to, and runs of a network from given states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.networks.layout import time_first

PIECE = 50
"""Steps after which rows that have ended drop out, where a layer can end each at a step of its own."""


def reachable_states(layers: Sequence[Layer], sequences: Tensor, lengths: Tensor) -> list[State]:
    """Return the state of each layer, ``(L, N, H)``, that sequences lead to from the zero state, differentiable.

    Time is cut at every length and finished rows drop out, so that one pass computes each step once. Where all
    layers can end each row at a step of its own, it is cut every ``PIECE`` steps only: there calls cost more.

    Args:
        layers: Layers of the stack.
        sequences: Inputs, ``(T, N, I)``.
        lengths: Number of steps to run for each sequence, ``(N,)``.

    Raises:
        ValueError: If a length lies outside 1..T.
    """
    lengths = lengths.cpu()
    check_lengths(sequences, lengths)
    ends, order = torch.sort(lengths, stable=True)
    active = sequences[: int(ends[-1])].index_select(1, order.to(sequences.device))
    beyond = torch.arange(len(active)).unsqueeze(1) >= ends
    active = active.masked_fill(
        beyond.unsqueeze(2).to(active.device), 0.0
    )  # padding may be anything, such as NaN
    states: list[State | None] = [None] * len(layers)
    finished: list[list[State]] = [[] for _ in layers]
    start = 0
    for end in _cuts(layers, ends):
        count = int((ends <= end).sum())
        output, steps = active[start:end], (ends.clamp(max=end) - start).to(sequences.device)
        for index, layer in enumerate(layers):
            if layer.run_to is None or len(output) == steps[0]:
                output, state = layer.run(output, states[index])
            else:
                output, state = layer.run_to(output, states[index], steps)
            finished[index].append(map_state(lambda tensor, n=count: tensor[:, :n], state))
            states[index] = map_state(lambda tensor, n=count: tensor[:, n:].contiguous(), state)
        active, ends, start = active[:, count:], ends[count:], end
    inverse = torch.argsort(order).to(sequences.device)
    return [
        map_state(lambda *parts: torch.cat(parts, dim=1).index_select(1, inverse), *layer)
        for layer in finished
    ]


def _cuts(layers: Sequence[Layer], ends: Tensor) -> list[int]:
    """Return where a pass over sequences that end after ``ends`` steps, in order, is cut; the last is its end."""
    if any(layer.run_to is None for layer in layers):
        return torch.unique_consecutive(ends).tolist()
    longest = int(ends[-1])
    return [*range(PIECE, longest, PIECE), longest]


def draw_reachable_states(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None,
    draws: int,
    generator: torch.Generator | None,
    constant_inputs: Tensor | None = None,
) -> tuple[list[Layer], list[State], Tensor]:
    """Draw the start of a measurement; for the arguments, see :func:`multistability`.

    Returns:
        The layers, the state of each, ``(L, N, H)``, and the constant input of each row, ``(N, I)``, draw after
        draw.
    """
    generator = generator or torch.Generator().manual_seed(0)
    layers = layers_of(rnn)
    sequences = checked(rnn, sequences, lengths)
    length, count, size = sequences.shape
    cuts = cut_lengths(draws * count, length, generator) if lengths is None else lengths.repeat(draws)
    if constant_inputs is None:
        inputs = torch.randn(draws, size, generator=generator)
    else:
        inputs = constant_inputs[torch.randint(len(constant_inputs), (draws,), generator=generator)]
    states = reachable_states(layers, sequences.repeat(1, draws, 1), cuts)
    return layers, states, inputs.to(sequences).repeat_interleave(count, 0)


def check_sequences(sequences: object) -> None:
    """Raise a ValueError if sequences are not a tensor of three axes of floating-point numbers."""
    if not isinstance(sequences, Tensor):
        raise ValueError(f"sequences are of type {type(sequences).__name__}: must be a tensor of 3 axes")
    if sequences.dim() != 3:
        raise ValueError(f"sequences are of shape {tuple(sequences.shape)}: must be a tensor of 3 axes")
    if not sequences.is_floating_point():
        raise ValueError(f"sequences are of type {sequences.dtype}: must be floating-point numbers")


def checked(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer], sequences: Tensor, lengths: Tensor | None
) -> Tensor:
    """Return sequences that are laid out as a network takes them as ``(T, N, I)``.

    Raises:
        ValueError: If they are not a tensor of finite numbers, or ``lengths`` are not those of N sequences.
    """
    check_sequences(sequences)
    sequences = time_first(rnn, sequences)
    if lengths is not None:
        check_lengths(sequences, lengths)
    check_finite(sequences, lengths)
    return sequences


def check_lengths(sequences: Tensor, lengths: Tensor) -> None:
    """Raise a ValueError unless ``lengths`` has a number of steps in 1..T for each of sequences ``(T, N, I)``."""
    length, count, _ = sequences.shape
    if lengths.shape != (count,) or lengths.min() < 1 or lengths.max() > length:
        raise ValueError(f"lengths={lengths.tolist()}: must be {count} numbers of steps in 1..{length}")


def check_finite(sequences: Tensor, lengths: Tensor | None, where: str = "") -> None:
    """Raise a ValueError unless sequences ``(T, N, I)`` are finite up to their lengths, ``(N,)``."""
    finite = torch.isfinite(sequences).all(2)
    if lengths is not None:
        steps = torch.arange(len(sequences), device=finite.device).unsqueeze(1)
        finite |= steps >= lengths.to(finite.device)
    finite = finite.all(0)
    if not finite.all():
        what = f"NaN or infinite values in {int((~finite).sum())} of {len(finite)}"
        raise ValueError(f"sequences: must be finite, there are {what}{where}")


def cut_lengths(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` numbers of steps, uniform in 1..``length``, shape ``(count,)``."""
    return torch.randint(1, length + 1, (count,), generator=generator)


def run_layers(layers: Sequence[Layer], input: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
    """Run an input ``(T, N, I)`` through all layers; return the outputs, ``(T, N, H)``, and the new states."""
    new = []
    for layer, state in zip(layers, states, strict=True):
        input, state = layer.run(input, state)
        new.append(state)
    return input, new


def run_constant(
    layers: Sequence[Layer], input: Tensor, states: Sequence[State], steps: int
) -> tuple[Tensor, list[State]]:
    """Run a constant input ``(N, I)`` through all layers for ``steps`` steps, as :func:`run_layers` does."""
    return run_layers(layers, input.expand(steps, *input.shape), states)


def trajectory(layers: Sequence[Layer], input: Tensor, states: Sequence[State], steps: int) -> Tensor:
    """Return the joined states before and after each of ``steps`` steps, ``(steps + 1, N, H)``."""
    path = [join_states(states)]
    for _ in range(steps):
        states = run_constant(layers, input, states, 1)[1]
        path.append(join_states(states))
    return torch.stack(path)


def join_states(states: Sequence[State]) -> Tensor:
    """Return the states of all layers side by side, ``(N, H)``."""
    return torch.cat([flatten_state(state) for state in states], dim=1)


def split_states(joined: Tensor, like: Sequence[State]) -> list[State]:
    """Undo :func:`join_states` for layers whose states have the widths of ``like``, with any number of rows."""

    def take(tensor: Tensor) -> Tensor:
        nonlocal joined
        depth, _, width = tensor.shape
        part, joined = joined[:, : depth * width], joined[:, depth * width :]
        return part.unflatten(1, (depth, width)).transpose(0, 1).contiguous()

    return [map_state(take, state) for state in like]
