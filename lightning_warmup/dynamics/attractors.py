"""What settled states do: stay at a fixed point, cycle, drift slowly, or move.

A VAA counts all of them alike. Multistability in the sense of the method is many stable fixed points, where the
spectral radius of the Jacobian of a step is below 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_warmup.dynamics.functional import REST_TOLERANCE
from lightning_warmup.dynamics.reachable import run_constant
from lightning_warmup.dynamics.settling import join_states, split_states
from lightning_warmup.engine.state import State
from lightning_warmup.networks.layers import Layer

KINDS = ("fixed point", "cycle", "slow drift", "moving")
SLOW_MOVE = 1e-3
"""Largest relative move of a unit, in one step, of a slow drift."""


def trajectory(layers: Sequence[Layer], input: Tensor, states: Sequence[State], steps: int) -> Tensor:
    """Return the joined states before and after each of ``steps`` steps, ``(steps + 1, N, H)``."""
    path = [join_states(states)]
    for _ in range(steps):
        states = run_constant(layers, input, states, 1)[1]
        path.append(join_states(states))
    return torch.stack(path)


@torch.no_grad()
def classify(
    layers: Sequence[Layer],
    input: Tensor,
    states: Sequence[State],
    window: int = 256,
    tolerance: float = REST_TOLERANCE,
) -> tuple[Tensor, Tensor]:
    """Tell what settled states do in a further window of steps under the same constant input.

    A state has period p if every unit returns after p steps, to a relative ``tolerance``, throughout the second
    half of the window. It cycles if p is above 1. With p = 1 it is at a fixed point if it also stays within ten
    tolerances over the whole window, or if its moves shrink by half. Other states without a longer period drift
    slowly if no unit moves by more than ``SLOW_MOVE`` in a step and both halves of the window lead the same way.
    All else moves: a longer cycle, a turn, or chaos.

    Args:
        layers: Layers of the stack.
        input: Constant input of every row, ``(N, I)``.
        states: Settled state of every layer, ``(L, N, H)``.
        window: Number of steps to watch; cycles of up to half as many are recognised.
        tolerance: Largest relative distance of a unit that counts as a return.

    Returns:
        The kind of each state, an index into ``KINDS``, and its period (0 if it does not return), both ``(N,)``.
    """
    path = trajectory(layers, input, states, window)
    scale = 1 + path[-1].abs()
    half = window // 2
    period = torch.zeros(len(input), dtype=torch.int64, device=input.device)
    for steps in range(1, half + 1):
        returned = ((path[-1] - path[-1 - steps]).abs() <= tolerance * scale).all(-1)
        rows = torch.nonzero(returned & (period == 0)).flatten()  # the only ones that are worth a whole look
        if len(rows):
            distances = (path[half + steps :, rows] - path[half:-steps, rows]).abs()
            period[rows[(distances <= tolerance * scale[rows]).all(-1).all(0)]] = steps
    moves = ((path[1:] - path[:-1]).abs() / scale).amax(-1)
    stays = ((path[-1] - path[0]).abs() <= 10 * tolerance * scale).all(-1)
    calms = moves[-1] <= moves[0] / 2
    onward = torch.cosine_similarity(path[half] - path[0], path[-1] - path[half]) > 0.5
    fixed = (period == 1) & (stays | calms)
    cycles = period > 1
    drifts = ~fixed & ~cycles & onward & (moves.amax(0) <= SLOW_MOVE)
    kind = torch.stack([fixed, cycles, drifts, ~(fixed | cycles | drifts)]).int().argmax(0)
    return kind, torch.where(fixed | cycles, period, 0)


def spectral_radii(layers: Sequence[Layer], input: Tensor, states: Sequence[State]) -> Tensor:
    """Return the spectral radius of the Jacobian of one step of the whole stack at each state, ``(N,)``.

    A fixed point with a radius below 1 is stable. The radii are in float64 on the CPU; the arguments are those of
    :func:`classify`.
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
