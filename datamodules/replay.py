"""The replay buffer: whole histories of episodes, and the batches that are drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Episode(NamedTuple):
    """T transitions of an episode, from its beginning on.

    Attributes:
        inputs: What the network is given, (T + 1, I) float32; the last row is what followed the last action.
        actions: (T,) int64.
        rewards: (T,) float32.
        terminated: Whether the last transition ended the episode; a time-out or a cut does not.
    """

    inputs: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: bool

    def prefix(self, steps: int) -> Episode:
        """The first ``steps`` transitions."""
        whole = steps == len(self.actions)
        return Episode(
            self.inputs[: steps + 1], self.actions[:steps], self.rewards[:steps], self.terminated and whole
        )


class Replay:
    """Keeps the latest episodes that together hold at most ``capacity`` transitions.

    Args:
        capacity: Transitions; when they are exceeded, the oldest episodes go.
        longest: Transitions of the longest episode there can be.

    Raises:
        ValueError: If the longest episode would not fit.
    """

    def __init__(self, capacity: int, longest: int) -> None:
        if capacity < longest:
            raise ValueError(f"capacity={capacity}: must be at least {longest}, the steps of a whole episode")
        self.capacity = capacity
        self.episodes: list[Episode] = []
        self.transitions = 0

    def add(self, episodes: Iterable[Episode]) -> None:
        """Appends episodes, in their order."""
        for episode in episodes:
            self.episodes.append(episode)
            self.transitions += len(episode.actions)
            while self.transitions > self.capacity:
                self.transitions -= len(self.episodes.pop(0).actions)

    def draw_episodes(self, count: int, generator: torch.Generator) -> list[Episode]:
        """Draws ``count`` episodes, all different where there are as many."""
        size = len(self.episodes)
        passes = [torch.randperm(size, generator=generator) for _ in range(0, count, size)]
        return [self.episodes[row] for row in torch.cat(passes)[:count].tolist()]

    def draw_prefixes(self, count: int, generator: torch.Generator) -> list[Episode]:
        """Draws ``count`` transitions uniformly, each with all that led to it: the beginning of an episode."""
        ends = torch.tensor([len(episode.actions) for episode in self.episodes]).cumsum(0)
        drawn = torch.randint(self.transitions, (count,), generator=generator)
        rows = torch.searchsorted(ends, drawn, right=True)
        steps = ends[rows] - drawn
        return [self.episodes[row].prefix(n) for row, n in zip(rows.tolist(), steps.tolist(), strict=True)]

    def state_dict(self) -> dict[str, Tensor]:
        """All episodes, one after the other, as plain tensors; none at all as an empty dictionary."""
        if not self.episodes:
            return {}
        inputs, actions, rewards, terminated = zip(*self.episodes, strict=True)
        return {
            "inputs": torch.cat(inputs),
            "actions": torch.cat(actions),
            "rewards": torch.cat(rewards),
            "terminated": torch.tensor(terminated),
            "lengths": torch.tensor([len(row) for row in actions]),
        }

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Replaces the episodes by those of a :meth:`state_dict`."""
        self.episodes, self.transitions = [], 0
        if state_dict:
            lengths = state_dict["lengths"]
            columns = (
                state_dict["inputs"].split((lengths + 1).tolist()),
                state_dict["actions"].split(lengths.tolist()),
                state_dict["rewards"].split(lengths.tolist()),
                state_dict["terminated"].tolist(),
            )
            self.add(Episode(*row) for row in zip(*columns, strict=True))


def padded(
    episodes: Sequence[Episode], last_step_only: bool = False, world_size: int = 1, rank: int = 0
) -> Batch:
    """Puts episodes in a batch to learn from, or a process's share of it; T is that of the global batch.

    Args:
        episodes: Those of the global batch, B of them.
        last_step_only: Learn from the last transition of each instead of all of them.
        world_size: Processes that share the batch.
        rank: Number of this process.

    Returns:
        Inputs (B, T + 1, I), actions (B, T), rewards (B, T), terminated (B, T), and weights (B, T): those of a
        mean over all transitions of the global batch that are learnt from. With several processes B is that
        of the share and the weights are scaled so that the mean over processes is the global mean.
    """
    learnt = len(episodes) if last_step_only else sum(len(episode.actions) for episode in episodes)
    count = len(episodes)
    share = slice(rank * count // world_size, (rank + 1) * count // world_size)
    terminated = torch.tensor([episode.terminated for episode in episodes]).unsqueeze(1)
    lengths = torch.tensor([len(episode.actions) for episode in episodes]).unsqueeze(1)
    steps = torch.arange(int(lengths.max()))
    last = steps == lengths - 1
    counted = last if last_step_only else steps < lengths
    return (
        pad_sequence([episode.inputs for episode in episodes], batch_first=True)[share],
        pad_sequence([episode.actions for episode in episodes], batch_first=True)[share],
        pad_sequence([episode.rewards for episode in episodes], batch_first=True)[share],
        (last & terminated)[share],
        counted[share] * (world_size / learnt),
    )


def histories(episodes: Sequence[Episode]) -> tuple[Tensor, Tensor]:
    """What the network sees before the last action of each: sequences (B, T, I) and their lengths (B,)."""
    sequences = pad_sequence([episode.inputs[:-1] for episode in episodes], batch_first=True)
    return sequences, torch.tensor([len(episode.actions) for episode in episodes])


class LazyLoader:
    """The batches of an epoch, each drawn when it is asked for, so that it knows the latest episodes.

    Lightning keeps its state, the number of batches drawn so far, in every checkpoint: a run that goes on from
    one draws the batches that it would have drawn.

    Args:
        batches: Batches in an epoch.
        draw: Gives a batch, from its number since the beginning of the training.
    """

    def __init__(self, batches: int, draw: Callable[[int], Any]) -> None:
        self.batches = batches
        self.draw = draw
        self.drawn = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.batches):
            self.drawn += 1
            yield self.draw(self.drawn - 1)

    def state_dict(self) -> dict[str, int]:
        """The number of batches drawn so far."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on from a :meth:`state_dict`."""
        self.drawn = state_dict["drawn"]
