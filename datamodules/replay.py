"""The replay buffer: whole episodes, and the batches that are drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from datamodules.loader import share_of

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Episode(NamedTuple):
    """The first T transitions of an episode.

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
        """Return the first ``steps`` transitions."""
        whole = self.terminated and steps == len(self.actions)
        return Episode(self.inputs[: steps + 1], self.actions[:steps], self.rewards[:steps], whole)


class Replay:
    """The latest episodes that together hold at most ``capacity`` transitions.

    Args:
        capacity: Transitions; when they are exceeded, the oldest episodes go.
        longest: Transitions of the longest episode there can be, for which there must be room.
    """

    def __init__(self, capacity: int, longest: int) -> None:
        if capacity < longest:
            raise ValueError(f"capacity={capacity}: must be at least {longest}, the steps of a whole episode")
        self.capacity = capacity
        self.episodes: list[Episode] = []
        self.transitions = 0

    def add(self, episodes: Iterable[Episode]) -> None:
        """Append episodes, in their order."""
        for episode in episodes:
            self.episodes.append(episode)
            self.transitions += len(episode.actions)
            while self.transitions > self.capacity:
                self.transitions -= len(self.episodes.pop(0).actions)

    def draw_episodes(self, count: int, generator: torch.Generator) -> list[Episode]:
        """Draw ``count`` episodes, all different if there are enough."""
        size = len(self.episodes)
        passes = [torch.randperm(size, generator=generator) for _ in range(0, count, size)]
        return [self.episodes[row] for row in torch.cat(passes)[:count].tolist()]

    def draw_prefixes(self, count: int, generator: torch.Generator) -> list[Episode]:
        """Draw ``count`` transitions uniformly, each with all that led to it: the beginning of an episode."""
        ends = torch.tensor([len(episode.actions) for episode in self.episodes]).cumsum(0)
        drawn = torch.randint(self.transitions, (count,), generator=generator)
        rows = torch.searchsorted(ends, drawn, right=True)
        steps = ends[rows] - drawn
        return [self.episodes[row].prefix(n) for row, n in zip(rows.tolist(), steps.tolist(), strict=True)]

    def state_dict(self) -> dict[str, Tensor]:
        """Return all episodes, one after the other, as plain tensors; without any, an empty dictionary."""
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
        """Replace the episodes by those of a :meth:`state_dict`."""
        self.episodes, self.transitions = [], 0
        if state_dict:
            lengths = state_dict["lengths"]
            inputs = state_dict["inputs"].split((lengths + 1).tolist())
            actions, rewards = (state_dict[name].split(lengths.tolist()) for name in ("actions", "rewards"))
            terminated = state_dict["terminated"].tolist()
            self.add(map(Episode, inputs, actions, rewards, terminated))


def padded(
    episodes: Sequence[Episode], last_step_only: bool = False, world_size: int = 1, rank: int = 0
) -> Batch:
    """Return a batch to learn from, or the share of a process; T is the longest episode of the global batch.

    Args:
        episodes: Episodes of the global batch.
        last_step_only: Learn from the last transition of each instead of all of them.
        world_size: Processes that share the batch.
        rank: Rank of this process.

    Returns:
        Inputs (B, T + 1, I), actions (B, T), rewards (B, T), terminated (B, T), and weights (B, T), which sum
        to ``world_size`` over all processes: the mean of their losses is the mean over all transitions of the
        global batch that are learnt from.
    """
    share = share_of(len(episodes), world_size, rank)
    columns = zip(*((episode.inputs, episode.actions, episode.rewards) for episode in episodes), strict=True)
    inputs, actions, rewards = (pad_sequence(list(column), batch_first=True)[share] for column in columns)
    terminated = torch.tensor([episode.terminated for episode in episodes]).unsqueeze(1)
    lengths = torch.tensor([len(episode.actions) for episode in episodes]).unsqueeze(1)
    steps = torch.arange(int(lengths.max()))
    last = steps == lengths - 1
    learnt = last if last_step_only else steps < lengths
    weights = learnt[share] * (world_size / int(learnt.sum()))
    return inputs, actions, rewards, (last & terminated)[share], weights


def histories(episodes: Sequence[Episode]) -> tuple[Tensor, Tensor]:
    """Return what the network sees before the last action of each: sequences (B, T, I) and lengths (B,)."""
    sequences = pad_sequence([episode.inputs[:-1] for episode in episodes], batch_first=True)
    return sequences, torch.tensor([len(episode.actions) for episode in episodes])


class LazyLoader:
    """A loader that draws each batch when it is asked for, so that it knows the latest episodes.

    Lightning saves the number of batches drawn so far in every checkpoint: a resumed run draws the same ones.

    Args:
        batches: Batches in an epoch.
        draw: Returns a batch, given its number since the beginning of the training.
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
        """Return the number of batches drawn so far."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Resume from a :meth:`state_dict`."""
        self.drawn = state_dict["drawn"]
