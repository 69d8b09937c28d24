"""What settled states do: rest at a fixed point, cycle, drift slowly, or move.

A VAA counts all of them alike. Multistability in the sense of the method is many stable fixed points: states at
rest, where the spectral radius of the step's Jacobian is below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_warmup.dynamics.functional import REST_TOLERANCE
from lightning_warmup.dynamics.reachable import run_constant
from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.layers import Layer

KINDS = ("fixed point", "cycle", "slow drift", "moving")

SLOW = 1e-3
"""Largest relative move of a unit, in one step, of a slow drift."""


@dataclass(frozen=True)
class Kinds:
    """The kind of each of N settled states.

    Attributes:
        kind: Index into ``KINDS``, shape ``(N,)``.
        period: Steps after which a state returns, ``(N,)``: 1 at a fixed point, 0 where it does not.
    """

    kind: Tensor
    period: Tensor

    def fractions(self) -> dict[str, float]:
        """The share of each kind."""
        return {name: float((self.kind == index).float().mean()) for index, name in enumerate(KINDS)}


@torch.no_grad()
def kinds(
    layers: Sequence[Layer],
    states: Sequence[State],
    input: Tensor,
    window: int = 256,
    tolerance: float = REST_TOLERANCE,
) -> Kinds:
    """Looks at what settled states do in a further window of steps under the same constant input.

    A state that returns after p steps, to a relative ``tolerance`` in every unit and throughout the second half of
    the window, is in a cycle, or at a fixed point if p is 1 and it either does not get away in the whole window or
    moves ever less. What does not return drifts slowly if no unit moves by more than ``SLOW`` in a step and the two
    halves of the window lead the same way; else it is moving: a longer cycle, a turn, or chaos.

    Args:
        layers: Layers of the stack.
        states: Settled state of every layer, ``(D, N, H)``.
        input: The constant input of every row, ``(N, I)``.
        window: Steps to look at; cycles of up to half as many are recognised.
        tolerance: Largest relative distance of a unit that counts as a return.

    Returns:
        The kind and the period of each state.
    """
    path = trajectory(layers, states, input, window)
    scale = 1 + path[-1].abs()

    def relative(difference: Tensor) -> Tensor:
        return (difference.abs() / scale).amax(-1)

    half = window // 2
    period = torch.zeros(len(input), dtype=torch.int64, device=input.device)
    for steps in range(half, 0, -1):
        returns = relative(path[half + steps :] - path[half:-steps]).amax(0) <= tolerance
        period[returns] = steps
    moves = relative(path[1:] - path[:-1])
    stays = relative(path[-1] - path[0]) <= 10 * tolerance
    calms = moves[-1] <= moves[0] / 2
    first, second = path[half] - path[0], path[-1] - path[half]
    onward = torch.nn.functional.cosine_similarity(first, second, dim=1) > 0.5
    fixed = (period == 1) & (stays | calms)
    drift = (period <= 1) & ~fixed & onward & (moves.amax(0) <= SLOW)
    kind = torch.full_like(period, KINDS.index("moving"))
    kind[period > 1] = KINDS.index("cycle")
    kind[drift] = KINDS.index("slow drift")
    kind[fixed] = KINDS.index("fixed point")
    return Kinds(kind, torch.where(fixed | (period > 1), period, 0))


def trajectory(layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int) -> Tensor:
    """The concatenated raw states before and after each of ``steps`` steps, shape ``(steps + 1, N, D)``."""
    path = [torch.cat([flatten_state(state) for state in states], dim=1)]
    for _ in range(steps):
        states = run_constant(layers, input, states, 1)[1]
        path.append(torch.cat([flatten_state(state) for state in states], dim=1))
    return torch.stack(path)


def spectral_radii(layers: Sequence[Layer], states: Sequence[State], input: Tensor) -> Tensor:
    """Spectral radius of the Jacobian of one step of the whole stack, at each state.

    Below 1 a fixed point is stable.

    Args:
        layers: Layers of the stack.
        states: State of every layer, ``(D, N, H)``.
        input: The constant input of every row, ``(N, I)``.

    Returns:
        The radii, ``(N,)``.
    """
    radii = []
    for row in range(len(input)):
        single = [map_state(lambda tensor, row=row: tensor[:, row : row + 1], state) for state in states]
        flat = torch.cat([flatten_state(state) for state in single], dim=1)

        def step(z: Tensor, like: Sequence[State] = single, row: int = row) -> Tensor:
            new = run_constant(layers, input[row : row + 1], _unflatten(z, like), 1)[1]
            return torch.cat([flatten_state(state) for state in new], dim=1)[0]

        jacobian = torch.func.jacrev(step)(flat[0])
        radii.append(torch.linalg.eigvals(jacobian).abs().max())
    return torch.stack(radii)


def _unflatten(z: Tensor, like: Sequence[State]) -> list[State]:
    """Inverse of the concatenation of :func:`flatten_state` for one row."""
    states: list[State] = []
    for state in like:
        tensors = []
        for tensor in state if isinstance(state, tuple) else (state,):
            part, z = z[: tensor.numel()], z[tensor.numel() :]
            tensors.append(part.view(tensor.shape))
        states.append(tuple(tensors) if isinstance(state, tuple) else tensors[0])
    return states
