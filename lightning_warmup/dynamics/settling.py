"""Where the states of a network settle under a constant input, and what they do there.

They stay at a fixed point, cycle, drift slowly, or move; a VAA does not distinguish these. Multistability, as the
method means it, is many stable fixed points, where the spectral radius of the Jacobian of a step is below 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_warmup.dynamics.functional import EPSILON, REST_TOLERANCE, at_rest
from lightning_warmup.dynamics.reachable import join_states, run_constant, split_states, trajectory
from lightning_warmup.engine.state import State, map_state
from lightning_warmup.networks.layers import Layer

CHECK_EVERY = (
    24  # steps between two checks which rows may stop; cycles of a period that divides it are noticed
)
LATE, CHECK_EVERY_LATE = 2000, 240  # later, few rows move, and a check costs as much as their steps
CLOSE_ENOUGH = 1 / 20  # a row may stop early if its remaining way is below this share of epsilon

KINDS = ("fixed point", "cycle", "slow drift", "moving")
WINDOW = 256  # steps for recognising the kind; cycles can have up to half as many
SLOW_MOVE = 1e-3  # largest relative move of a unit in one step of a slow drift


@torch.no_grad()
def settle(
    layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int, epsilon: float = EPSILON
) -> tuple[Tensor, Tensor]:
    """Return the joined states after M and after M + 1 steps under a constant input, both ``(N, H)``.

    Two kinds of rows stop early: rows that repeat to the last bit, and resting rows whose moves shrink
    geometrically, if less than a twentieth of ``epsilon`` remains, computed with the larger of the last two rates.
    Rows that drift or oscillate run all steps.

    Args:
        layers: Layers of the stack.
        states: State of every layer, ``(L, N, H)``.
        input: Constant input of every row, ``(N, I)``.
        steps: Number M of steps.
        epsilon: Distance to which an early stop must be exact.
    """
    here = join_states(states)
    settled, moved = torch.empty_like(here), torch.empty_like(here)
    rows = torch.arange(len(input), device=input.device)
    move, rate = here.new_full((2, len(rows)), torch.nan)  # unknown: every comparison is false
    taken = 0
    while len(rows):
        # The remainder of the steps comes first, so that a cycle that is noticed later is in its phase at M.
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


@torch.no_grad()
def classify(layers: Sequence[Layer], input: Tensor, states: Sequence[State]) -> tuple[Tensor, Tensor]:
    """Classify what settled states do in a further ``WINDOW`` of steps; for the arguments, see :func:`settle`.

    A state has period p if every unit returns after p steps, within the tolerance of rest, throughout the second
    half of the window. With p above 1 it cycles. With p = 1 it is at a fixed point if it also stays within ten
    tolerances over the whole window, or if its moves shrink by half. Otherwise it drifts slowly if no unit moves by
    more than ``SLOW_MOVE`` in a step and both halves of the window lead in the same direction. All other states
    move: a longer cycle, a turn, or chaos.

    Returns:
        The kind of each state, an index into ``KINDS``, and its period (0 if it does not return), both ``(N,)``.
    """
    path = trajectory(layers, input, states, WINDOW)
    scale = 1 + path[-1].abs()
    near = REST_TOLERANCE * scale
    half = WINDOW // 2
    period = torch.zeros(len(input), dtype=torch.int64, device=input.device)
    for steps in range(1, half + 1):
        returned = ((path[-1] - path[-1 - steps]).abs() <= near).all(-1)
        rows = torch.nonzero(returned & (period == 0)).flatten()  # only these need the full comparison
        if len(rows):
            distances = (path[half + steps :, rows] - path[half:-steps, rows]).abs()
            period[rows[(distances <= near[rows]).all(-1).all(0)]] = steps
    moves = ((path[1:] - path[:-1]).abs() / scale).amax(-1)
    stays = ((path[-1] - path[0]).abs() <= 10 * REST_TOLERANCE * scale).all(-1)
    calms = moves[-1] <= moves[0] / 2
    onward = torch.cosine_similarity(path[half] - path[0], path[-1] - path[half]) > 0.5
    fixed, cycles = (period == 1) & (stays | calms), period > 1
    drifts = ~fixed & ~cycles & onward & (moves.amax(0) <= SLOW_MOVE)
    kind = torch.stack([fixed, cycles, drifts, ~(fixed | cycles | drifts)]).int().argmax(0)
    return kind, torch.where(fixed | cycles, period, 0)


def spectral_radii(layers: Sequence[Layer], input: Tensor, states: Sequence[State]) -> Tensor:
    """Return the spectral radius of the Jacobian of one step of the whole stack at each state, ``(N,)``.

    A fixed point with a radius below 1 is stable. For the arguments, see :func:`settle`. The radii are float64, on
    the CPU.
    """
    radii = []
    # cuDNN has no gradient in eval mode; Lightning tests in inference mode.
    with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for constant, state in zip(input, join_states(states), strict=True):
            # One copy of the state for each unit: row k of the gradient is row k of the Jacobian.
            copies = state.repeat(len(state), 1).requires_grad_()
            inputs = constant.repeat(len(state), 1)
            ahead = join_states(run_constant(layers, inputs, split_states(copies, states), 1)[1])
            (jacobian,) = torch.autograd.grad(ahead.diagonal().sum(), copies)
            radii.append(float(torch.linalg.eigvals(jacobian.double().cpu()).abs().max()))
    return torch.tensor(radii, dtype=torch.float64)
