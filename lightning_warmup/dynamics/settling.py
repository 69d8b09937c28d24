"""The states a network can reach, and where they settle under a constant input.

The measure of arXiv 2106.01001, section 4: run each sequence for a random number of steps from the zero state,
then feed one constant input for M steps, and look at where the states have come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_warmup.dynamics.functional import EPSILON, at_rest, resting_vaa, vaa
from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.layers import Layer, layers_of

CHUNK = 24
"""Constant-input steps between two looks at who rests."""

LATE, LONG_CHUNK = 2000, 240
"""After so many steps few rows move, and a look costs as much as their steps: it comes less often from there on."""


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


def read_stack(layers: Sequence[Layer], states: Sequence[State], input: Tensor) -> tuple[Tensor, list[State]]:
    """Feeds an input ``(steps, N, I)`` through the whole stack.

    Returns:
        The last layer's outputs ``(steps, N, H)`` and the new state of every layer.
    """
    output, new = input, []
    for layer, state in zip(layers, states, strict=True):
        output, state = layer.run(output, state)
        new.append(state)
    return output, new


def run_stack(
    layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int
) -> tuple[Tensor, list[State]]:
    """Feeds a constant input ``(N, I)`` for ``steps`` steps through the stack, as :func:`read_stack`."""
    return read_stack(layers, states, input.expand(steps, *input.shape))


@torch.no_grad()
def settle(
    layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int, epsilon: float = EPSILON
) -> tuple[Tensor, Tensor]:
    """Where the whole stack comes to under a constant input, and where one more step would take it.

    Rows that will hardly move any more, by the estimate less than a twentieth of ``epsilon``, stop early: those at
    rest whose moves shrink geometrically, judged on the larger of their last two rates, and those that repeat to
    the last bit. Drifting and oscillating rows run all the ``steps``.

    Args:
        layers: Layers of the stack.
        states: State of every layer, ``(D, N, H)``.
        input: Constant input of every row, ``(N, I)``.
        steps: Number M of steps.
        epsilon: Distance that must not be spoilt by stopping early.

    Returns:
        Raw states of all layers concatenated, after M and after M + 1 steps, each of shape ``(N, D)``.
    """
    here = _concatenated(states)
    settled, moved = torch.empty_like(here), torch.empty_like(here)
    rows = torch.arange(len(input), device=input.device)
    move, rate = here.new_full((2, len(rows)), torch.nan)  # not known yet: compares false
    taken = 0
    states = list(states)
    while len(rows):
        # An odd number of steps comes first: a cycle that is noticed later stands in the phase it has at M.
        chunk = CHUNK if taken < LATE else LONG_CHUNK
        count = (steps - taken) % chunk or chunk
        states = run_stack(layers, states, input, count)[1]
        taken += count
        before, here = here, _concatenated(states)
        last_move, move = move, torch.linalg.vector_norm(here - before, dim=1)
        last_rate, rate = rate, move / last_move
        slowest = torch.maximum(rate, last_rate)
        shrinking = (slowest < 1) & (move * slowest < (1 - slowest) * epsilon / 20)
        over = (move == 0) & (count == chunk) | (taken >= steps)
        if not (shrinking | over).any():
            continue
        ahead = _concatenated(run_stack(layers, states, input, 1)[1])
        done = shrinking & at_rest(here, ahead) | over
        settled[rows[done]], moved[rows[done]] = here[done], ahead[done]
        keep = ~done
        rows, input, here, move, rate = rows[keep], input[keep], here[keep], move[keep], rate[keep]
        states = [map_state(lambda tensor: tensor[:, keep].contiguous(), state) for state in states]  # noqa: B023
    return settled, moved


def _concatenated(states: Sequence[State]) -> Tensor:
    """States of all layers side by side, ``(N, D)``."""
    return torch.cat([flatten_state(state) for state in states], dim=1)


@dataclass(frozen=True)
class Multistability:
    """A measurement of reachable multistability; every figure depends on N, M, epsilon and the input.

    Attributes:
        vaa: Variability among attractors, in [1/N, 1].
        resting_vaa: Distinct equilibria of the states at rest over N, in [0, 1].
        rest: Fraction of the settled states that are at rest.
        residual: Median Euclidean length of one more step.
        equilibria: Number of distinct settled states of each layer by itself, in [1, N].
    """

    vaa: float
    resting_vaa: float
    rest: float
    residual: float
    equilibria: tuple[float, ...]


@torch.no_grad()
def multistability(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 2000,
    draws: int = 3,
    epsilon: float = EPSILON,
    generator: torch.Generator | None = None,
) -> Multistability:
    """Measures the reachable multistability of a recurrent network on N sequences.

    Each draw cuts every sequence at a random length, runs it from the zero state, and settles the whole stack
    under one constant input drawn from N(0, 1) and shared by all sequences; figures are means over the draws.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs, ``(T, N, I)``, or ``(N, T, I)`` if the network has ``batch_first``.
        lengths: Use these prefixes, ``(N,)``, instead of random cuts, as for histories of episodes.
        steps: Number M of constant steps.
        draws: Number of draws.
        epsilon: Distance below which two states are the same equilibrium.
        generator: Source of the cuts and the constant inputs; by default one of seed 0.

    Returns:
        The figures, see :class:`Multistability`.

    Raises:
        ValueError: If ``steps`` or ``draws`` is below 1, or a length outside 1..T.
    """
    for name, value in {"steps": steps, "draws": draws}.items():
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    layers, states, inputs = sampled(rnn, sequences, lengths, draws, generator)
    count = len(inputs) // draws
    settled, moved = settle(layers, states, inputs, steps, epsilon)
    resting = at_rest(settled, moved)
    layer_states = settled.split([flatten_state(state).shape[1] for state in states], dim=1)
    return Multistability(
        vaa=_mean(vaa(z, epsilon) for z in settled.chunk(draws)),
        resting_vaa=_mean(
            resting_vaa(z, r, epsilon)
            for z, r in zip(settled.chunk(draws), resting.chunk(draws), strict=True)
        ),
        rest=float(resting.float().mean()),
        residual=float(torch.linalg.vector_norm(moved - settled, dim=1).median()),
        equilibria=tuple(count * _mean(vaa(z, epsilon) for z in part.chunk(draws)) for part in layer_states),
    )


def sampled(
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


def _mean(values: Iterable[Tensor]) -> float:
    return float(torch.stack(list(values)).mean())
