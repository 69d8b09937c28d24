"""The states that sequences lead a network to, and a network driven on from given states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_warmup.engine.state import State, map_state
from lightning_warmup.networks.layers import Layer, layers_of


def reachable_states(layers: Sequence[Layer], sequences: Tensor, lengths: Tensor) -> list[State]:
    """States that each sequence leads to, from the zero state, differentiable.

    One pass: time is cut at every length, and rows that are finished drop out, so no step is computed twice
    or in vain.

    Args:
        layers: Layers of the stack.
        sequences: Inputs ``(T, N, I)``.
        lengths: Number of steps to run for each sequence, ``(N,)``, in 1..T.

    Returns:
        One state of shape ``(D, N, H)`` (or a tuple of them) for each layer.

    Raises:
        ValueError: If a length lies outside 1..T.
    """
    lengths = lengths.cpu()
    if len(lengths) != sequences.shape[1] or lengths.min() < 1 or lengths.max() > len(sequences):
        raise ValueError(
            f"lengths {lengths.tolist()}: expected {sequences.shape[1]} numbers of steps in 1..{len(sequences)}"
        )
    ends, order = torch.sort(lengths, stable=True)
    alive = sequences[: int(ends[-1])].index_select(1, order.to(sequences.device))
    states: list[State | None] = [None] * len(layers)
    finished: list[list[State]] = [[] for _ in layers]
    start = 0
    for end, count in zip(*torch.unique_consecutive(ends, return_counts=True), strict=True):
        output = alive[start:end]
        for index, layer in enumerate(layers):
            output, state = layer.run(output, states[index])
            finished[index].append(map_state(lambda tensor, n=int(count): tensor[:, :n], state))
            states[index] = map_state(lambda tensor, n=int(count): tensor[:, n:].contiguous(), state)
        alive = alive[:, int(count) :]
        start = int(end)
    inverse = torch.argsort(order).to(sequences.device)
    return [
        map_state(lambda *parts: torch.cat(parts, dim=1).index_select(1, inverse), *layer)
        for layer in finished
    ]


def draw_reachable_states(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None,
    draws: int,
    generator: torch.Generator | None,
) -> tuple[list[Layer], list[State], Tensor]:
    """What a measurement starts from: layers, their states after the cuts, and the constant input of each row.

    Arguments as for :func:`multistability`. The rows are the N sequences of the first draw, then of the second, and
    so on.
    """
    generator = generator or torch.Generator().manual_seed(0)
    layers = layers_of(rnn)
    if getattr(rnn, "batch_first", False):
        sequences = sequences.transpose(0, 1)
    length, count, size = sequences.shape
    if lengths is None:
        cuts = cut_lengths(draws * count, length, generator)
    else:
        cuts = lengths.repeat(draws)
    inputs = torch.randn(draws, 1, size, generator=generator).expand(draws, count, size).reshape(-1, size)
    return layers, reachable_states(layers, sequences.repeat(1, draws, 1), cuts), inputs.to(sequences)


def cut_lengths(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Draws ``count`` numbers of steps, uniform in 1..``length``, shape ``(count,)``."""
    return torch.randint(1, length + 1, (count,), generator=generator)


def run_layers(layers: Sequence[Layer], input: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
    """Feeds an input ``(steps, N, I)`` through the whole stack.

    Returns:
        The last layer's outputs ``(steps, N, H)`` and the new state of every layer.
    """
    output, new = input, []
    for layer, state in zip(layers, states, strict=True):
        output, state = layer.run(output, state)
        new.append(state)
    return output, new


def run_constant(
    layers: Sequence[Layer], input: Tensor, states: Sequence[State], steps: int
) -> tuple[Tensor, list[State]]:
    """Feeds a constant input ``(N, I)`` for ``steps`` steps through the stack, as :func:`run_layers`."""
    return run_layers(layers, input.expand(steps, *input.shape), states)
