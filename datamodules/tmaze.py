"""The T-Maze as data: a replay buffer that a policy fills while it learns from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.replay import Batch, Episode, LazyLoader, Replay, histories, padded
from datamodules.sequences import check_positive
from datamodules.streams import stream
from datamodules.tmaze_env import DOWN, GOAL_REWARD, UP, VectorTMaze

Policy = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""``actions, state = policy(inputs, state)``: the action (N,) after further inputs (N, T, I); None begins."""

# Probabilities of right, up, left, down in exploration: a drift to the right, which reaches the junction.
EXPLORATION = (1 / 2, 1 / 6, 1 / 6, 1 / 6)

_SIDE_BY_SIDE = 64  # episodes of pure exploration that are played at once
_HISTORIES = 64  # in a batch that multistability is measured on
_STOCHASTIC_EPISODES = 50  # of an evaluation where chance decides; else one for each goal tells all


class TMaze(LightningDataModule):
    """Plays T-Mazes and keeps what happened; the rules are those of :class:`VectorTMaze`.

    The network is given nine values at each step: the previous action, one-hot (4), the previous reward (1) and
    the observation (4); the first step has zeros for action and reward. Before the fit the buffer is filled by
    exploration. The module that learns plays by :meth:`collect`, once every ``gradient_steps`` training
    batches, and is judged by :meth:`evaluate`. An epoch is ``episodes_per_epoch`` episodes long.

    A training batch is ``(inputs, actions, rewards, terminated, weights)``, see :func:`padded`; a batch of the
    other loaders is ``(sequences, lengths)``, histories of exploration (B, T, 9) and their lengths (B,).

    Everything random in an episode is a function of the seed and the episode's number, everything in a batch of
    the seed and the batch's number. Processes play the same episodes and share the batches.

    Args:
        length: L, steps from the cue to the junction.
        stochasticity: Probability in [0, 1) that an action before the junction is replaced by a random one.
        reward: ``"outcome"`` or ``"intention"``: which action is judged.
        capacity: Transitions in the buffer.
        samples: A training batch holds whole ``"episodes"`` and is learnt from at all of their steps, or it holds
            ``"prefixes"`` that lead to uniformly drawn transitions and is learnt from at these alone, as in the
            authors' code.
        batch_size: Episodes or prefixes in a global training batch.
        gradient_steps: Training batches for each episode played.
        episodes_per_epoch: Episodes played between two evaluations.
        test_multiples: Multiples of the length at which the trained policy is tested as well.
        seed: Seed of exploration, episodes and batches.

    Raises:
        ValueError: If a setting is out of range, or the buffer too small for an episode.

    Attributes:
        test_lengths: The multiples of the length.
        episodes_played: Episodes that :meth:`collect` has played.
    """

    input_size = 9
    output_size = 4
    task = "control"
    trivial_loss = None

    def __init__(
        self,
        *,
        length: int = 20,
        stochasticity: float = 0.0,
        reward: Literal["outcome", "intention"] = "outcome",
        capacity: int = 8192,
        samples: Literal["episodes", "prefixes"] = "episodes",
        batch_size: int = 32,
        gradient_steps: int = 10,
        episodes_per_epoch: int = 20,
        test_multiples: Sequence[int] = (2, 5, 10, 50),
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_positive(
            batch_size=batch_size, gradient_steps=gradient_steps, episodes_per_epoch=episodes_per_epoch
        )
        check_positive(**{f"test_multiples[{i}]": multiple for i, multiple in enumerate(test_multiples)})
        if samples not in ("episodes", "prefixes"):
            raise ValueError(f"samples={samples!r}: choose one of episodes, prefixes")
        self.maze = VectorTMaze(length, stochasticity, reward)
        self.replay = Replay(capacity, self.maze.horizon)
        self.samples = samples
        self.batch_size = batch_size
        self.gradient_steps = gradient_steps
        self.episodes_per_epoch = episodes_per_epoch
        self.test_lengths = tuple(multiple * length for multiple in test_multiples)
        self.seed = seed
        self.episodes_played = 0

    def setup(self, stage: str) -> None:
        """Fills the buffer before a fit, unless it holds something already."""
        if stage == "fit" and not self.replay.episodes:
            self.replay = self._explored(self.seed, "train")

    def train_dataloader(self) -> LazyLoader:
        """As many batches as ``episodes_per_epoch`` episodes take."""
        world_size, rank = self._processes(self.batch_size)

        def draw(number: int) -> Batch:
            generator = stream(self.seed, "TMaze", "batch", number)
            prefixes = self.samples == "prefixes"
            drawn = self.replay.draw_prefixes if prefixes else self.replay.draw_episodes
            return padded(drawn(self.batch_size, generator), prefixes, world_size, rank)

        return LazyLoader(self.episodes_per_epoch * self.gradient_steps, draw)

    def val_dataloader(self) -> LazyLoader:
        """One batch of histories."""
        return self._histories(self.seed, "val")

    def test_dataloader(self) -> list[LazyLoader]:
        """One loader with one batch of histories, the same for every seed."""
        return [self._histories(0, "test")]

    def warmup_dataloader(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields histories without end: beginnings of the episodes that the buffer is filled with before a fit.

        Args:
            batch_size: Histories in a global batch, of which each process gets its share.
        """
        world_size, rank = self._processes(batch_size)
        share = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        replay = self._explored(self.seed, "train")
        for number in count():
            generator = stream(self.seed, "TMaze", "warmup", number)
            yield histories(replay.draw_prefixes(batch_size, generator)[share])

    def collect(self, policy: Policy, epsilon: float) -> float:
        """Plays the next episode and keeps it.

        Args:
            policy: Chooses the actions.
            epsilon: Probability in [0, 1] of each action to be one of exploration instead.

        Returns:
            The sum of its rewards.
        """
        generator = _generator(self.seed, "episode", self.episodes_played)
        (episode,) = play(self.maze, [generator], policy, epsilon)
        self.replay.add([episode])
        self.episodes_played += 1
        return float(episode.rewards.sum())

    def evaluate(self, policy: Policy, gamma: float, length: int | None = None) -> dict[str, float]:
        """Judges a policy on both goals.

        Args:
            policy: Chooses all actions.
            gamma: Discount in [0, 1].
            length: Steps from the cue to the junction; None is the length of the training.

        Returns:
            Means over the episodes of the ``return`` and the ``discounted_return``, and whether the policy is
            ``optimal``, 1.0 or 0.0: whether it earns 4 in length + 1 steps in every one of them.
        """
        length = length or self.maze.length
        maze = VectorTMaze(length, self.maze.stochasticity, self.maze.reward)
        goals = [UP, DOWN] * (_STOCHASTIC_EPISODES // 2 if maze.stochasticity else 1)
        generators = [_generator(0, "evaluation", length, number) for number in range(len(goals))]
        rewards = [episode.rewards.double() for episode in play(maze, generators, policy, goals=goals)]
        returns = [float(row.sum()) for row in rewards]
        discounted = [float(row @ gamma ** torch.arange(len(row)).double()) for row in rewards]
        steps = [len(row) for row in rewards]
        return {
            "return": sum(returns) / len(goals),
            "discounted_return": sum(discounted) / len(goals),
            "optimal": float(set(returns) == {GOAL_REWARD} and set(steps) == {length + 1}),
        }

    def state_dict(self) -> dict[str, Any]:
        """The buffer, and the number of the next episode, on which all that is random in it depends."""
        return {"replay": self.replay.state_dict(), "episodes_played": self.episodes_played}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.replay.load_state_dict(state_dict["replay"])
        self.episodes_played = state_dict["episodes_played"]

    def _explored(self, seed: int, name: str) -> Replay:
        """A buffer that exploration has filled."""
        replay = Replay(self.replay.capacity, self.maze.horizon)
        transitions = 0
        for first in count(step=_SIDE_BY_SIDE):
            generators = [_generator(seed, name, first + number) for number in range(_SIDE_BY_SIDE)]
            episodes = play(self.maze, generators)
            replay.add(episodes)
            transitions += sum(len(episode.actions) for episode in episodes)
            if transitions >= replay.capacity:
                break
        return replay

    def _histories(self, seed: int, name: str) -> LazyLoader:
        generator = stream(seed, "TMaze", name)
        batch = histories(self._explored(seed, name).draw_prefixes(_HISTORIES, generator))
        return LazyLoader(1, lambda _: batch)

    def _processes(self, batch_size: int) -> tuple[int, int]:
        world_size, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        if batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size}: the global batch size must be divisible by the number of processes"
                f" ({world_size})"
            )
        return world_size, rank


def play(
    maze: VectorTMaze,
    generators: Sequence[np.random.Generator],
    policy: Policy | None = None,
    epsilon: float = 0.0,
    goals: Sequence[int] | None = None,
) -> list[Episode]:
    """Plays episodes side by side, to the end of the last one.

    Args:
        maze: The maze.
        generators: One for each episode: everything random in it, exploration included, is drawn from it.
        policy: Chooses the actions; it is asked only where its choice counts. None explores throughout.
        epsilon: Probability in [0, 1] of each action to be one of exploration instead.
        goals: For each episode ``UP`` or ``DOWN``, instead of a random one.

    Returns:
        The episodes, in the order of their generators.
    """
    size, horizon = len(generators), maze.horizon
    inputs = np.zeros((size, horizon + 1, TMaze.input_size), dtype=np.float32)
    actions = np.zeros((size, horizon), dtype=np.int64)
    rewards = np.zeros((size, horizon), dtype=np.float32)
    lengths = np.full(size, horizon)
    inputs[:, 0, 5:] = maze.reset(generators, goals)
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
        inputs[:, t + 1, 5:], rewards[:, t], terminated, _ = maze.step(actions[:, t])
        inputs[rows, t + 1, actions[:, t]] = 1
        inputs[:, t + 1, 4] = rewards[:, t]
        lengths[terminated & ~ended] = t + 1
        ended = terminated
        if ended.all():
            break
    return [
        Episode(*(torch.from_numpy(array[row, :stop].copy()) for array, stop in columns), bool(ended[row]))
        for row, n in enumerate(lengths.tolist())
        for columns in [((inputs, n + 1), (actions, n), (rewards, n))]
    ]


def _generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(stream(seed, "TMaze", *names).initial_seed())
