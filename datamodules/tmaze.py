"""The T-Maze as data: episodes that a policy plays, and the replay buffer that it learns from."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.loader import check_positive, processes, share_of
from datamodules.replay import Batch, Episode, LazyLoader, Replay, histories, padded
from datamodules.streams import stream
from datamodules.tmaze_env import DOWN, RIGHT, UP, VectorTMaze

# A step of the input: the previous action, one-hot, the previous reward, and the observation.
REWARD, OBSERVATION, INPUT_SIZE = 4, slice(5, 9), 9
# Probabilities of right, up, left, down in exploration: a drift to the right, which reaches the junction.
EXPLORATION = (1 / 2, 1 / 6, 1 / 6, 1 / 6)
# ``actions, state = policy(inputs, state)``: the action (N,) after further inputs (N, T, I); None begins.
Policy = Callable[[Tensor, Any], tuple[Tensor, Any]]

_SIDE_BY_SIDE = 64  # episodes of pure exploration that are played at once
_HISTORIES = 64  # of exploration, in an evaluation batch
_STOCHASTIC_EPISODES = 50  # of an evaluation where chance decides; else one for each goal tells all


class TMaze(LightningDataModule):
    """Episodes of a :class:`VectorTMaze`; the buffer is filled by exploration before the fit.

    Processes play the same episodes and share the batches. Everything random in an episode or a batch is a
    function of the seed and its number.

    A training batch is ``(inputs, actions, rewards, terminated, weights)``, see :func:`padded`; a batch of the
    other loaders is ``(sequences, lengths)``, histories of exploration (B, T, 9) and their lengths (B,).

    Args:
        length, stochasticity, reward: As for :class:`VectorTMaze`.
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

    input_size, output_size, task, trivial_loss = INPUT_SIZE, 4, "control", None

    def __init__(
        self,
        *,
        length: int = 20,
        stochasticity: float = 0.0,
        reward: Literal["outcome", "intention", "passive"] = "outcome",
        capacity: int = 8192,
        samples: Literal["episodes", "prefixes"] = "episodes",
        batch_size: int = 32,
        gradient_steps: int = 10,
        episodes_per_epoch: int = 20,
        test_multiples: Sequence[int] = (2, 5, 10, 50),
        seed: int = 0,
    ) -> None:
        super().__init__()
        multiples = {f"test_multiples[{i}]": multiple for i, multiple in enumerate(test_multiples)}
        check_positive(batch_size=batch_size, gradient_steps=gradient_steps)
        check_positive(episodes_per_epoch=episodes_per_epoch, **multiples)
        if samples not in ("episodes", "prefixes"):
            raise ValueError(f"samples={samples!r}: choose one of episodes, prefixes")
        self.maze = VectorTMaze(length, stochasticity, reward)
        self.replay = Replay(capacity, self.maze.horizon)
        self.samples, self.seed, self.batch_size = samples, seed, batch_size
        self.gradient_steps, self.episodes_per_epoch = gradient_steps, episodes_per_epoch
        self.test_lengths = tuple(multiple * length for multiple in test_multiples)
        self.episodes_played = 0
        # What a greedy agent reads in the corridor, from its second step on.
        self.holding_inputs = _inputs(2, RIGHT)

    def setup(self, stage: str) -> None:
        """Fill the buffer before a fit, unless it holds something already."""
        if stage == "fit" and not self.replay.episodes:
            self.replay = self._explored(self.seed, "train")

    def train_dataloader(self) -> LazyLoader:
        """Return as many batches as ``episodes_per_epoch`` episodes take."""
        share = processes(self, self.batch_size)
        prefixes = self.samples == "prefixes"

        def draw(number: int) -> Batch:
            drawn = self.replay.draw_prefixes if prefixes else self.replay.draw_episodes
            episodes = drawn(self.batch_size, stream(self.seed, "TMaze", "batch", number))
            return padded(episodes, prefixes, *share)

        return LazyLoader(self.episodes_per_epoch * self.gradient_steps, draw)

    def val_dataloader(self) -> LazyLoader:
        return _only(self._histories(self.seed, "val", _HISTORIES))

    def test_dataloader(self) -> list[LazyLoader]:
        """Return one loader with one batch of histories, the same for every seed."""
        return [_only(self.first_test_batch(_HISTORIES))]

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
        """Add the next episode, with exploration of probability ``epsilon``; return the sum of its rewards."""
        generator = _generator(self.seed, "episode", self.episodes_played)
        (episode,) = play(self.maze, [generator], policy, epsilon)
        self.replay.add([episode])
        self.episodes_played += 1
        return float(episode.rewards.sum())

    def evaluate(self, policy: Policy, gamma: float, length: int | None = None) -> dict[str, float]:
        """Return how a policy does on both goals, without exploration, by default at the training's length.

        Returns:
            Means over the episodes of the ``return`` and, with a discount ``gamma`` in [0, 1], of the
            ``discounted_return``; 1.0 as ``optimal`` if all earn the most in length + 1 steps, else 0.0.
        """
        length = length or self.maze.length
        maze = VectorTMaze(length, self.maze.stochasticity, self.maze.reward)
        goals = [UP, DOWN] * (_STOCHASTIC_EPISODES // 2 if maze.stochasticity else 1)
        generators = [_generator(0, "evaluation", length, number) for number in range(len(goals))]
        rewards = [episode.rewards.double() for episode in play(maze, generators, policy, goals=goals)]
        returns = [float(row.sum()) for row in rewards]
        discounted = [float(row @ gamma ** torch.arange(len(row)).double()) for row in rewards]
        return {
            "return": sum(returns) / len(goals),
            "discounted_return": sum(discounted) / len(goals),
            "optimal": float({*returns} == {maze.best} and {*map(len, rewards)} == {length + 1}),
        }

    def waiting(self) -> dict[str, Any] | None:
        """Return the maze of every length as a task of waiting, see :class:`Waiting`; None where chance decides."""
        if self.maze.stochasticity:
            return None
        return {
            "first": torch.cat([_inputs(0), _inputs(1)]),
            "wait": self.holding_inputs[0],
            "question": _inputs(3, RIGHT)[0],
            "patience": torch.tensor([RIGHT, RIGHT]),
            "answers": torch.tensor([UP, DOWN]),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer and the number of the next episode, which decides all that is random in it."""
        return {"replay": self.replay.state_dict(), "episodes_played": self.episodes_played}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.replay.load_state_dict(state_dict["replay"])
        self.episodes_played = state_dict["episodes_played"]

    def _explored(self, seed: int, name: str) -> Replay:
        replay = Replay(self.replay.capacity, self.maze.horizon)
        transitions = first = 0
        while transitions < replay.capacity:
            generators = [_generator(seed, name, first + number) for number in range(_SIDE_BY_SIDE)]
            episodes = play(self.maze, generators)
            replay.add(episodes)
            transitions += sum(len(episode.actions) for episode in episodes)
            first += _SIDE_BY_SIDE
        return replay

    def _histories(self, seed: int, name: str, size: int) -> tuple[Tensor, Tensor]:
        return histories(self._explored(seed, name).draw_prefixes(size, stream(seed, "TMaze", name)))


def _inputs(observation: int, action: int | None = None) -> Tensor:
    """Return the input (1, 9) of an observation, by its number, at the beginning or after a step without reward."""
    inputs = torch.zeros(1, INPUT_SIZE)
    inputs[0, OBSERVATION.start + observation] = 1
    if action is not None:
        inputs[0, action] = 1
    return inputs


def _only(batch: Any) -> LazyLoader:
    return LazyLoader(1, lambda _: batch)


def _generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(stream(seed, "TMaze", *names).initial_seed())


def play(
    maze: VectorTMaze,
    generators: Sequence[np.random.Generator],
    policy: Policy | None = None,
    epsilon: float = 0.0,
    goals: Sequence[int] | None = None,
) -> list[Episode]:
    """Play episodes of a maze side by side, to the end of the last one.

    Args:
        maze: The maze.
        generators: One for each episode: all that is random in it, exploration included, is drawn from it.
        policy: Chooses the actions; it is asked only where its choice counts. None explores throughout.
        epsilon: Probability in [0, 1] of each action to be one of exploration instead.
        goals: For each episode ``UP`` or ``DOWN``, instead of a random one.

    Returns:
        The episodes, in order. The first input of each has zeros for action and reward.
    """
    size, horizon = len(generators), maze.horizon
    inputs = np.zeros((size, horizon + 1, INPUT_SIZE), dtype=np.float32)
    actions, rewards = np.zeros((size, horizon), np.int64), np.zeros((size, horizon), np.float32)
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
