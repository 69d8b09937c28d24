"""Episodes of the T-Maze, played by a recurrent policy that explores now and then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.replay import Episode
from datamodules.tmaze_env import VectorTMaze

# A step of the input: the previous action, one-hot, the previous reward, and the observation.
REWARD, OBSERVATION = 4, slice(5, 9)
INPUT_SIZE = 9

Policy = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""``actions, state = policy(inputs, state)``: the action (N,) after further inputs (N, T, I); None begins."""

# Probabilities of right, up, left, down in exploration: a drift to the right, which reaches the junction.
EXPLORATION = (1 / 2, 1 / 6, 1 / 6, 1 / 6)


def play(
    maze: VectorTMaze,
    generators: Sequence[np.random.Generator],
    policy: Policy | None = None,
    epsilon: float = 0.0,
    goals: Sequence[int] | None = None,
) -> list[Episode]:
    """Play episodes side by side, to the end of the last one.

    Args:
        maze: The maze.
        generators: One for each episode: everything random in it, exploration included, is drawn from it.
        policy: Chooses the actions; it is asked only where its choice counts. None explores throughout.
        epsilon: Probability in [0, 1] of each action to be one of exploration instead.
        goals: For each episode ``UP`` or ``DOWN``, instead of a random one.

    Returns:
        The episodes, in the order of their generators. The first input has zeros for action and reward.
    """
    size, horizon = len(generators), maze.horizon
    inputs = np.zeros((size, horizon + 1, INPUT_SIZE), dtype=np.float32)
    actions = np.zeros((size, horizon), dtype=np.int64)
    rewards = np.zeros((size, horizon), dtype=np.float32)
    lengths = np.full(size, horizon)
    inputs[:, 0, OBSERVATION] = maze.reset(generators, goals)
    explores = np.array([generator.random(horizon) < epsilon for generator in generators])
    exploration = np.array([generator.choice(4, size=horizon, p=EXPLORATION) for generator in generators])
    rows, ended = np.arange(size), np.zeros(size, dtype=bool)
    state, seen = None, 0
    for t in range(horizon):
        actions[:, t] = exploration[:, t]
        if policy is not None and not (explores[:, t] | ended).all():
            greedy, state = policy(torch.from_numpy(inputs[:, seen : t + 1]), state)
            actions[:, t] = np.where(explores[:, t], exploration[:, t], greedy)
            seen = t + 1
        inputs[:, t + 1, OBSERVATION], rewards[:, t], terminated, _ = maze.step(actions[:, t])
        inputs[rows, t + 1, actions[:, t]] = 1
        inputs[:, t + 1, REWARD] = rewards[:, t]
        lengths[terminated & ~ended] = t + 1
        ended = terminated
        if ended.all():
            break
    x, a, r = (torch.from_numpy(array) for array in (inputs, actions, rewards))
    return [
        Episode(x[row, : n + 1].clone(), a[row, :n].clone(), r[row, :n].clone(), bool(ended[row]))
        for row, n in enumerate(lengths.tolist())
    ]
