"""The T-Maze as data: a replay buffer that a policy fills while it learns from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.loader import processes, share_of
from datamodules.replay import Batch, LazyLoader, Replay, histories, padded
from datamodules.sequences import check_positive
from datamodules.streams import stream
from datamodules.tmaze_env import DOWN, GOAL_REWARD, UP, VectorTMaze
from datamodules.tmaze_play import INPUT_SIZE, Policy, play

_SIDE_BY_SIDE = 64  # episodes of pure exploration that are played at once
_HISTORIES = 64  # of exploration, in an evaluation batch
_STOCHASTIC_EPISODES = 50  # of an evaluation where chance decides; else one for each goal tells all


class TMaze(LightningDataModule):
    """Episodes of a :class:`VectorTMaze`; the buffer is filled by exploration before the fit.

    The module that learns plays by :meth:`collect`, once every ``gradient_steps`` training batches, and is
    judged by :meth:`evaluate`. Processes play the same episodes and share the batches. Everything random in an
    episode is a function of the seed and the episode's number, and likewise for a batch.

    A training batch is ``(inputs, actions, rewards, terminated, weights)``, see :func:`padded`; a batch of the
    other loaders is ``(sequences, lengths)``, histories of exploration (B, T, 9) and their lengths (B,).

    Args:
        length: L, steps from the cue to the junction.
        stochasticity: Probability in [0, 1) that an action before the junction is replaced by a random one.
        reward: ``"outcome"`` or ``"intention"``: which action is judged.
        capacity: Transitions in the buffer, at least those of the longest episode.
        samples: ``"episodes"`` learns from all steps of whole episodes; ``"prefixes"`` from uniformly drawn
            transitions, each with all that led to it, as in the authors' code.
        batch_size: Episodes or prefixes in a global training batch.
        gradient_steps: Training batches for each episode played.
        episodes_per_epoch: Episodes played between two evaluations.
        test_multiples: Multiples of the length at which the trained policy is tested as well.
        seed: Seed of exploration, episodes and batches.

    Raises:
        ValueError: If a setting is out of range, or the buffer too small for an episode.
    """

    input_size = INPUT_SIZE
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
        """Fill the buffer before a fit, unless it holds something already."""
        if stage == "fit" and not self.replay.episodes:
            self.replay = self._explored(self.seed, "train")

    def train_dataloader(self) -> LazyLoader:
        """Return as many batches as ``episodes_per_epoch`` episodes take."""
        world_size, rank = processes(self, self.batch_size)

        def draw(number: int) -> Batch:
            generator = stream(self.seed, "TMaze", "batch", number)
            prefixes = self.samples == "prefixes"
            drawn = self.replay.draw_prefixes if prefixes else self.replay.draw_episodes
            return padded(drawn(self.batch_size, generator), prefixes, world_size, rank)

        return LazyLoader(self.episodes_per_epoch * self.gradient_steps, draw)

    def val_dataloader(self) -> LazyLoader:
        """Return one batch of histories."""
        batch = self._histories(self.seed, "val", _HISTORIES)
        return LazyLoader(1, lambda _: batch)

    def test_dataloader(self) -> list[LazyLoader]:
        """Return one loader with one batch of histories, the same for every seed."""
        batch = self.first_test_batch(_HISTORIES)
        return [LazyLoader(1, lambda _: batch)]

    def first_test_batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the ``count`` histories that multistability is measured on, the same for every seed."""
        return self._histories(0, "test", count)

    def warmup_dataloader(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield histories of the exploration before a fit without end, this process's share of each batch."""
        share = share_of(batch_size, *processes(self, batch_size))
        replay = self._explored(self.seed, "train")
        for number in count():
            generator = stream(self.seed, "TMaze", "warmup", number)
            sequences, lengths = histories(replay.draw_prefixes(batch_size, generator))
            yield sequences[share], lengths[share]

    def collect(self, policy: Policy, epsilon: float) -> float:
        """Play the next episode, add it to the buffer and return the sum of its rewards.

        ``epsilon`` is the probability in [0, 1] of each action to be one of exploration instead.
        """
        generator = _generator(self.seed, "episode", self.episodes_played)
        (episode,) = play(self.maze, [generator], policy, epsilon)
        self.replay.add([episode])
        self.episodes_played += 1
        return float(episode.rewards.sum())

    def evaluate(self, policy: Policy, gamma: float, length: int | None = None) -> dict[str, float]:
        """Return how a policy does on both goals, without exploration.

        Args:
            policy: Chooses all actions.
            gamma: Discount in [0, 1].
            length: Steps from the cue to the junction; None is the length of the training.

        Returns:
            Means over the episodes of the ``return`` and the ``discounted_return``, and 1.0 as ``optimal`` if
            every one earns 4 in length + 1 steps, else 0.0.
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
        """Return the buffer and the number of the next episode, which decides all that is random in it."""
        return {"replay": self.replay.state_dict(), "episodes_played": self.episodes_played}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        self.replay.load_state_dict(state_dict["replay"])
        self.episodes_played = state_dict["episodes_played"]

    def _explored(self, seed: int, name: str) -> Replay:
        """Return a buffer that exploration has filled."""
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

    def _histories(self, seed: int, name: str, size: int) -> tuple[Tensor, Tensor]:
        return histories(self._explored(seed, name).draw_prefixes(size, stream(seed, "TMaze", name)))


def _generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(stream(seed, "TMaze", *names).initial_seed())
