"""Consolidation: a trained policy keeps its answers, and what it holds comes to rest where small moves die out."""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator, Tensor

from lightning_warmup.dynamics.certificate import Waiting, certify
from lightning_warmup.dynamics.functional import REST_TOLERANCE
from lightning_warmup.dynamics.reachable import in_mode
from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures import require

ROUNDS = 20
"""Most rounds: where one leaves states that creep by roundings, the next mostly ends it."""
LR = 1e-3
"""Learning rate of Adam; it falls tenfold in the second half, so that states settle."""
MARGIN = 0.1
"""Lead of the chosen action over all others that is kept: policies that have just been learnt choose narrowly."""
WEIGHT = 0.1
"""Weight of unsteadiness beside the answers."""
COPIES, DISTURBANCE = 8, 1e-2
"""Disturbed copies of each state, and how far, relative to its units."""
RECOVERY = 50
"""Steps in which they come back: enough that a single direction that does not shows among 64."""
FURTHER = 150
"""Most further steps of waiting: what creeps takes as long to be seen."""
SHRINKAGE = 0.9
"""Factor of a step by which a disturbance should shrink."""


def consolidate(
    network: RecurrentNetwork, task: Waiting, longest: int, *, steps: int = 200, seed: int = 0
) -> None:
    """Make a policy hold through any waiting what it holds through that of its training, in place.

    It is taught by itself: its values up to ``longest`` steps of waiting, and at a question on the way, stay, and
    what it chooses at their end it is to choose after further waiting, by a margin. Meanwhile its states are
    drawn to rest, and disturbed ones back to the others, so that in float32 they come to repeat to the last bit. A
    certificate needs that, see :func:`lightning_warmup.dynamics.certificate.certify`: up to twenty rounds end once
    there is one for all greater lengths. The policy's errors up to ``longest`` stay as well.

    Args:
        network: Network with an output for each answer.
        task: The task; its right answers say when to end, and teach nothing.
        longest: Steps of waiting after which the policy is known to be right, such as those of its training.
        steps: Gradient steps of a round.
        seed: Seed of the lengths and the disturbances.

    Raises:
        ValueError: If ``longest`` or ``steps`` is below 1.
    """
    require("longest", longest, longest >= 1, "at least 1")
    require("steps", steps, steps >= 1, "at least 1")
    for number in range(ROUNDS):
        _consolidate(network, task, longest, steps, seed + number)
        found = certify(network, task).from_length
        if found is not None and found <= longest + 1:
            break


def _consolidate(network: RecurrentNetwork, task: Waiting, longest: int, steps: int, seed: int) -> None:
    """Take the steps of one round."""
    teacher = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    generator = torch.Generator().manual_seed(seed)
    with in_mode([network, teacher], training=False), torch.enable_grad():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LR * 0.1 ** max(0.0, 2 * step / steps - 1)
            earlier = int(torch.randint(1, longest + 1, (), generator=generator))
            waiting = earlier if step % 2 else longest
            further = int(torch.randint(1, FURTHER + 1, (), generator=generator))
            with torch.no_grad():
                wanted, _ = _play(teacher, task, [task.first, *[task.wait] * waiting])
            values, state = _play(network, task, [task.first, *[task.wait] * waiting])
            later, state = _play(network, task, [task.wait] * further, state)
            loss = WEIGHT * _unsteadiness(network, task, state, generator)
            for value, want, late in zip(values, wanted, later, strict=True):
                choice = want.argmax(2, keepdim=True)
                loss = loss + (value - want).square().mean() + _indecision(value, choice)
                if waiting == longest:  # what it chooses there is known to be right
                    loss = loss + _indecision(late, choice[:, -1:])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    optimizer.zero_grad()


def _play(
    network: RecurrentNetwork, task: Waiting, inputs: list[Tensor], state: State | None = None
) -> tuple[list[Tensor], State]:
    """Return all values on the way and at a question then, ``(N, T, O)``, and the states before it."""
    on_the_way, state = _drive(network, [input.expand_as(task.first) for input in inputs], state)
    asked, _ = _drive(network, [task.question.expand_as(task.first)], state)
    return [on_the_way, asked], state


def _indecision(values: Tensor, choice: Tensor) -> Tensor:
    """Return how far chosen actions are from a clear lead over all others."""
    choice = choice.expand(-1, values.shape[1], -1)
    lead = values.gather(2, choice) - values.scatter(2, choice, -math.inf).amax(2, keepdim=True)
    return torch.relu(MARGIN - lead).mean()


def _unsteadiness(network: RecurrentNetwork, task: Waiting, state: State, generator: Generator) -> Tensor:
    """Return how far states still move, and how slowly disturbed copies come back to them."""
    rows = len(task.first)

    def disturb(tensor: Tensor) -> Tensor:
        copies = tensor.repeat(1, COPIES, 1)
        noise = torch.randn(copies.shape, generator=generator).to(copies)
        return torch.cat([tensor, copies + DISTURBANCE * (1 + copies.detach().abs()) * noise], 1)

    both = map_state(disturb, state)
    inputs = task.wait.expand(rows * (1 + COPIES), -1)
    _, ahead = _drive(network, [inputs] * RECOVERY, both)
    start, end = flatten_state(both), flatten_state(ahead)
    moves = torch.linalg.vector_norm(end[:rows] - start[:rows], dim=1)
    away, left = (
        torch.linalg.vector_norm(joined[rows:] - joined[:rows].repeat(COPIES, 1), dim=1)
        for joined in (start, end)
    )
    rate = torch.log(left / away.detach() + REST_TOLERANCE) / RECOVERY
    unrest = torch.log1p(moves / REST_TOLERANCE) / math.log(1 / REST_TOLERANCE)
    return 10 * torch.relu(rate - math.log(SHRINKAGE)).mean() + unrest.mean()


def _drive(
    network: RecurrentNetwork, inputs: list[Tensor], state: State | None = None
) -> tuple[Tensor, State]:
    """Return the values ``(N, T, O)`` and the new states after T inputs ``(N, I)``."""
    dim = 1 if network.batch_first else 0
    values, state = network(torch.stack(inputs, dim), state)
    return (values if network.batch_first else values.transpose(0, 1)), state
