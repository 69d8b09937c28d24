"""Where the states of a network settle under a constant input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_warmup.dynamics.functional import EPSILON, at_rest
from lightning_warmup.dynamics.reachable import run_constant
from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.layers import Layer

CHUNK = 24
"""Constant-input steps between two looks at who rests."""


LATE, LONG_CHUNK = 2000, 240
"""After so many steps few rows move, and a look costs as much as their steps: it comes less often from there on."""


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
        states = run_constant(layers, input, states, count)[1]
        taken += count
        before, here = here, _concatenated(states)
        last_move, move = move, torch.linalg.vector_norm(here - before, dim=1)
        last_rate, rate = rate, move / last_move
        slowest = torch.maximum(rate, last_rate)
        shrinking = (slowest < 1) & (move * slowest < (1 - slowest) * epsilon / 20)
        over = (move == 0) & (count == chunk) | (taken >= steps)
        if not (shrinking | over).any():
            continue
        ahead = _concatenated(run_constant(layers, input, states, 1)[1])
        done = shrinking & at_rest(here, ahead) | over
        settled[rows[done]], moved[rows[done]] = here[done], ahead[done]
        keep = ~done
        rows, input, here, move, rate = rows[keep], input[keep], here[keep], move[keep], rate[keep]
        states = [map_state(lambda tensor: tensor[:, keep].contiguous(), state) for state in states]  # noqa: B023
    return settled, moved


def _concatenated(states: Sequence[State]) -> Tensor:
    """States of all layers side by side, ``(N, D)``."""
    return torch.cat([flatten_state(state) for state in states], dim=1)
