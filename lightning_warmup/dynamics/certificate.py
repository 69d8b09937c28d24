"""Whether a policy remembers: its float32 states under a constant input, followed until they repeat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_warmup.dynamics.functional import at_rest
from lightning_warmup.dynamics.reachable import in_mode
from lightning_warmup.dynamics.settling import spectral_radii
from lightning_warmup.engine.state import State, flatten_state, map_state
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.recurrent import RecurrentNetwork

CHUNK = 256  # steps of waiting between two looks


@dataclass(frozen=True)
class Waiting:
    """A task that lasts for any number of steps; its length L counts a first input and L - 1 of waiting.

    Attributes:
        first: First inputs of N rows, such as a cue each, ``(N, I)``.
        wait: Input of each step of waiting, ``(I,)``.
        question: Input of the last step, ``(I,)``.
        patience: Right answers until then, ``(N,)``.
        answers: Right answers to the question, ``(N,)``.
    """

    first: Tensor
    wait: Tensor
    question: Tensor
    patience: Tensor
    answers: Tensor


@dataclass(frozen=True)
class Certificate:
    """What a policy does in a task of every length from 2 on.

    Attributes:
        from_length: Least length from which on it is right until its states repeat; None if there is none.
        all_lengths: Whether that is the shortest one.
        first_failure: Least length at which it is wrong; None if none was met.
        last_failure: Greatest such length, up to ``steps + 1``; None if none was met.
        steps: Steps of waiting that were followed.
        rest_after: Steps of waiting after which no unit moved any more; None if some did at the end.
        distance: Euclidean distance of the closest two states at the end.
        spectral_radius: Greatest spectral radius of the states at the end; None if they are not at rest.
    """

    from_length: int | None
    all_lengths: bool
    first_failure: int | None
    last_failure: int | None
    steps: int
    rest_after: int | None
    distance: float
    spectral_radius: float | None


@torch.no_grad()
def certify(network: RecurrentNetwork, task: Waiting, steps: int = 20_000) -> Certificate:
    """Follow a policy, whose greatest output is its answer, through a task of every length, in eval mode.

    After every step of waiting the question is put to copies of the states. A step is a function of the states
    alone: once all are where they were before, to the last bit, at a fixed point or in a cycle of rounding, all
    that can follow in this computation has been seen. That is a statement about one machine and one precision, not
    a proof in real arithmetic: in another precision the states may go on moving.

    Args:
        network: Network with an output for each answer.
        task: The task, of at least two rows.
        steps: Limit of the steps of waiting; a policy whose states do not repeat by then has no ``from_length``.
    """
    with in_mode(network, training=False):
        answers, state = _answer(network, task.first)
        impatient_at_once = bool((answers != task.patience).any())
        anchor, anchored, taken, repeats = flatten_state(state), 0, 0, False
        notes = []
        while taken < steps and not repeats:
            noted, path, state = _wait(network, task, state, min(CHUNK, steps - taken))
            notes.append(noted)
            taken += len(noted)
            repeats = bool((path == anchor).flatten(1).all(1).any())
            if not repeats and taken >= 2 * anchored:
                anchor, anchored = path[-1], taken
        impatient, wrong, moved = torch.cat(notes).unbind(1)
        resting = not moved[-1]
        radius = _spectral_radius(network, task, state) if resting else None
    failed = wrong | (impatient.cumsum(0) > 0) | impatient_at_once
    last = _last(failed)
    # What was seen after the anchor comes again and again.
    certified = repeats and last <= anchored
    return Certificate(
        from_length=last + 2 if certified else None,
        all_lengths=certified and last == 0,
        first_failure=int(failed.nonzero()[0]) + 2 if last else None,
        last_failure=last + 1 if last else None,
        steps=taken,
        rest_after=_last(moved) if resting else None,
        distance=float(torch.pdist(path[-1]).min()),
        spectral_radius=radius,
    )


def _wait(network: RecurrentNetwork, task: Waiting, state: State, steps: int) -> tuple[Tensor, Tensor, State]:
    """Wait for some steps.

    Returns:
        Whether an answer was impatient, one to the question would have been wrong, and a unit moved, in each step,
        ``(steps, 3)``; the joined states after each, ``(steps, N, H)``; and the last states.
    """
    rows, before, states, answers = len(task.first), flatten_state(state), [], []
    for _ in range(steps):
        answer, state = _answer(network, task.wait.expand(rows, -1), state)
        states.append(state)
        answers.append(answer)
    copies = map_state(lambda *tensors: torch.cat(tensors, 1), *states)
    asked, _ = _answer(network, task.question.expand(steps * rows, -1), copies)
    joined = flatten_state(copies)
    still = at_rest(torch.cat([before, joined[:-rows]]), joined).view(steps, rows)
    right = asked.view(steps, rows) == task.answers
    patient = torch.stack(answers) == task.patience
    return ~torch.stack([patient, right, still], 1).all(2), joined.view(steps, *before.shape), state


def _answer(network: RecurrentNetwork, input: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Return the answers ``(N,)`` to one more input ``(N, I)``, and the new states."""
    values, state = network(input.unsqueeze(1 if network.batch_first else 0), state)
    return values.flatten(0, 1).argmax(1), state


def _spectral_radius(network: RecurrentNetwork, task: Waiting, state: State) -> float:
    layers = layers_of(network)
    states = [map_state(lambda tensor, i=i: tensor[i : i + 1], state) for i in range(len(layers))]
    return float(spectral_radii(layers, task.wait.expand(len(task.first), -1), states).max())


def _last(happened: Tensor) -> int:
    """Return the number of the last step, from 1, in which something happened; 0 if it never did."""
    return int(happened.nonzero().max()) + 1 if happened.any() else 0
