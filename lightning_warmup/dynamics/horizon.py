"""How many steps a network remembers, forward in its states and backward in its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_warmup.dynamics.functional import LEFT, finite_norms, shares_apart
from lightning_warmup.dynamics.reachable import (
    checked,
    cut_lengths,
    join_states,
    reachable_states,
    run_layers,
    split_states,
)
from lightning_warmup.dynamics.spans import Spans
from lightning_warmup.engine.state import State, map_state
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.networks.mode import in_mode

GROWTH = 1.1  # of the number of steps from one look to the next
LONGEST = 100  # steps between two looks, at most: so many are held for a gradient


@dataclass(frozen=True)
class MemoryHorizon:
    """How many steps a network remembers.

    Attributes:
        forward: How long the states of two histories remain apart while both read the same inputs.
        backward: How many steps back an input may lie for the gradient of the last state to reach it.

    Histories that lead to the same place cannot be told apart. A network that holds one bit forgets half of
    the pairs at once and keeps the others for ever; the text says how many pairs are kept.
    """

    forward: Spans
    backward: Spans

    def __str__(self) -> str:
        return f"memory: {self.forward}; gradient: {self.backward}"


def memory_horizon(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    limit: int = 2000,
    gradient_limit: int = 300,
    pairs: int = 16,
    left: float = LEFT,
    generator: torch.Generator | None = None,
) -> MemoryHorizon:
    """Measure how many steps a network remembers, in eval mode.

    Forward: two different histories of the data are read, then the same further inputs, and the distance of the
    states is followed until a thousandth of it is left. Backward: the gradient of the last state by an input k
    steps before it is followed in the same way, as a share of the largest over k. The further inputs are sequences
    of the data, drawn at random and joined one after the other.

    Args:
        rnn: Network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs, ``(T, N, I)``, or ``(N, T, I)`` if the network has ``batch_first``.
        lengths: Steps of each sequence, ``(N,)``, all of which are a history; by default these are cut at random.
        limit: The most steps to follow states.
        gradient_limit: The most steps to follow the gradient; at most ``limit`` of them are taken.
        pairs: Pairs of histories, at most; N / 2 if that is fewer.
        left: Share at which something counts as forgotten.
        generator: Source of the cuts, pairs and further inputs; by default one of seed 0.

    Raises:
        ValueError: If a number is out of range, a length lies outside 1..T, an input is not finite, or there are
            fewer than two sequences.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> print(memory_horizon(torch.nn.GRU(1, 8), torch.randn(30, 64, 1)))
        memory: 12 steps; gradient: 12 steps (11 to 13)
    """
    for name, value in {"limit": limit, "gradient_limit": gradient_limit, "pairs": pairs}.items():
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    if not 0 < left < 1:
        raise ValueError(f"left={left}: must be between 0 and 1")
    sequences = checked(rnn, sequences, lengths)
    length, number, _ = sequences.shape
    if number < 2:
        raise ValueError(f"sequences={number}: must be at least 2, whose states can differ")
    generator = generator or torch.Generator().manual_seed(0)
    count, window = min(pairs, number // 2), min(gradient_limit, limit)
    rows = torch.randperm(number, generator=generator)[: 2 * count]
    ends = cut_lengths(2 * count, length, generator) if lengths is None else lengths.cpu()[rows]
    further = _joined(sequences, lengths, limit, count, generator)
    looks = torch.tensor(sorted({*_looks(limit), window}))
    with in_mode(rnn, training=False):
        layers = layers_of(rnn)
        with torch.no_grad():
            starts = reachable_states(layers, sequences[:, rows.to(sequences.device)], ends)
        path = _path(layers, starts, further, looks, window, left)
        apart = shares_apart(*torch.stack([join_states(states) for states in path]).chunk(2, dim=1))
        near = looks[looks <= window]
        lags = near.clamp(max=window - 1)
        firsts = [
            [map_state(lambda tensor: tensor[:, :count], s) for s in states] for states in path[: len(near)]
        ]
        reached = _gradients(layers, further[:window], firsts, near, left, generator)
    return MemoryHorizon(
        Spans.of(apart, looks[: len(apart)], left, limit),
        Spans.of(reached[lags.to(reached.device)], lags, left, window),
    )


def _looks(limit: int) -> list[int]:
    """Return the numbers of steps to look at, from 0 to ``limit``."""
    looks = [0]
    while looks[-1] < limit:
        step = min(LONGEST, max(1, int(looks[-1] * (GROWTH - 1))))
        looks.append(min(limit, looks[-1] + step))
    return looks


def _joined(
    sequences: Tensor, lengths: Tensor | None, steps: int, count: int, generator: torch.Generator
) -> Tensor:
    """Return inputs ``(steps, count, I)`` of sequences that are drawn at random and joined."""
    ends = [len(sequences)] * sequences.shape[1] if lengths is None else lengths.tolist()
    columns = []
    for _ in range(count):
        parts, missing = [], steps
        while missing > 0:
            row = int(torch.randint(len(ends), (), generator=generator))
            parts.append(sequences[: min(ends[row], missing), row])
            missing -= ends[row]
        columns.append(torch.cat(parts))
    return torch.stack(columns, 1)


@torch.no_grad()
def _path(
    layers: Sequence[Layer], states: list[State], further: Tensor, looks: Tensor, window: int, left: float
) -> list[list[State]]:
    """Return the states of all layers at each look, of the first histories of all pairs and then the second ones.

    It ends early, but not within the window, where no pair has anything left that counts.
    """
    inputs, path = torch.cat([further, further], 1), [states]
    for end, chunk in zip(looks[1:].tolist(), inputs.split(looks.diff().tolist()), strict=True):
        path.append(run_layers(layers, chunk, path[-1])[1])
        if end >= window:
            ends = torch.stack([join_states(path[0]), join_states(path[-1])])
            if (shares_apart(*ends.chunk(2, dim=1))[1] <= left * left).all():
                break
    return path


def _gradients(
    layers: Sequence[Layer],
    inputs: Tensor,
    path: Sequence[Sequence[State]],
    looks: Tensor,
    left: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the norms of the gradient of the last state by the input k steps before, over the largest, ``(K, P)``.

    The gradient is that of a random direction of the last state, of which the expected square is that of all. It is
    passed on from chunk to chunk, each of which is run again, until nothing of it is left that counts.
    Where it overflows it counts as none.
    """
    last = join_states(path[-1])
    direction = torch.randn(last.shape, generator=generator).to(last)
    norms = inputs.new_zeros(inputs.shape[:2])
    passed_on, end = direction, len(inputs)
    for start, states in zip(reversed(looks[:-1].tolist()), reversed(path[:-1]), strict=True):
        by_input, passed_on = _pulled_back(layers, inputs[start:end], states, passed_on)
        norms[start:end], end = finite_norms(by_input), start
        left_over = torch.linalg.vector_norm(passed_on, dim=1) / torch.linalg.vector_norm(direction, dim=1)
        if (left_over <= left * left).all():
            break
    largest = norms.amax(0)
    return norms.flip(0) / largest.where(largest > 0, 1.0)


def _pulled_back(
    layers: Sequence[Layer], inputs: Tensor, states: Sequence[State], gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients by inputs ``(T, P, I)`` and by the joined states before, given that by those after."""
    # cuDNN has no gradient in eval mode; Lightning tests in inference mode.
    with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        inputs, before = inputs.clone().requires_grad_(), join_states(states).clone().requires_grad_()
        after = join_states(run_layers(layers, inputs, split_states(before, states))[1])
        weights = gradient.clone()  # one of inference mode is none for autograd
        by_inputs, by_states = torch.autograd.grad(
            after, [inputs, before], weights, allow_unused=True, materialize_grads=True
        )
    return by_inputs, by_states
