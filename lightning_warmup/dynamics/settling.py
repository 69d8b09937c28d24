"""Where the states of a network settle under a constant input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_warmup.dynamics.functional import EPSILON, at_rest
from lightning_warmup.dynamics.reachable import run_constant
from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.layers import Layer

CHECK_EVERY = 24
"""Steps between two checks which rows may stop; cycles of a period that divides it are noticed."""

LATE, CHECK_EVERY_LATE = 2000, 240
"""After so many steps few rows move and a check costs as much as their steps, so checks come less often."""

CLOSE_ENOUGH = 1 / 20
"""Share of epsilon that a row may still be away from where it will settle when it stops early."""


@torch.no_grad()
def settle(
    layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int, epsilon: float = EPSILON
) -> tuple[Tensor, Tensor]:
    """Return the joined states after M and after M + 1 steps under a constant input, both ``(N, H)``.

    Two kinds of rows stop early: those at rest whose moves shrink geometrically, with less than a twentieth of
    ``epsilon`` to go by the larger of their last two rates, and those that repeat to the last bit. Rows that drift
    or oscillate run all the steps.

    Args:
        layers: Layers of the stack.
        states: State of every layer, ``(L, N, H)``.
        input: Constant input of every row, ``(N, I)``.
        steps: Number M of steps.
        epsilon: Distance that an early stop must not spoil.
    """
    here = join_states(states)
    settled, moved = torch.empty_like(here), torch.empty_like(here)
    rows = torch.arange(len(input), device=input.device)
    move, rate = here.new_full((2, len(rows)), torch.nan)  # not known yet: compares false
    taken = 0
    states = list(states)
    while len(rows):
        # The odd number of steps comes first, so that a cycle noticed later stands in its phase at M.
        chunk = CHECK_EVERY if taken < LATE else CHECK_EVERY_LATE
        count = (steps - taken) % chunk or chunk
        states = run_constant(layers, input, states, count)[1]
        taken += count
        before, here = here, join_states(states)
        last_move, move = move, torch.linalg.vector_norm(here - before, dim=1)
        last_rate, rate = rate, move / last_move
        slowest = torch.maximum(rate, last_rate)
        shrinking = (slowest < 1) & (move * slowest < (1 - slowest) * epsilon * CLOSE_ENOUGH)
        over = (move == 0) & (count == chunk) | (taken >= steps)
        if not (shrinking | over).any():
            continue
        ahead = join_states(run_constant(layers, input, states, 1)[1])
        stop = shrinking & at_rest(here, ahead) | over
        settled[rows[stop]], moved[rows[stop]] = here[stop], ahead[stop]
        active = ~stop
        rows, input, here, move, rate = (t[active] for t in (rows, input, here, move, rate))
        states = [map_state(lambda tensor: tensor[:, active].contiguous(), state) for state in states]  # noqa: B023
    return settled, moved


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
