"""The replay buffer of whole episodes, and the batches drawn from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from datamodules.loader import share_of

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Episode(NamedTuple):
    """The first T transitions of an episode."""

    inputs: Tensor  # (T + 1, I) float32, the inputs of the network; the last row came after the last action
    actions: Tensor  # (T,) int64
    rewards: Tensor  # (T,) float32
    terminated: bool  # whether the last transition ended the episode; a time-out or a cut does not count

    def prefix(self, steps: int) -> "Episode":
        whole = self.terminated and steps == len(self.actions)
        return Episode(self.inputs[: steps + 1], self.actions[:steps], self.rewards[:steps], whole)


class Replay:
    """The latest episodes, at most ``capacity`` transitions, which must be enough for the ``longest`` episode."""

    def __init__(self, capacity: int, longest: int) -> None:
        if capacity < longest:
            raise ValueError(
                f"capacity={capacity}: must be at least {longest}, the steps of the longest episode"
            )
        self.capacity, self.transitions = capacity, 0
        self.episodes: list[Episode] = []

    def add(self, episodes: Iterable[Episode]) -> None:
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
        """Draw ``count`` transitions uniformly; return each with the part of its episode that led to it."""
        ends = _lengths(self.episodes).cumsum(0)
        drawn = torch.randint(self.transitions, (count,), generator=generator)
        rows = torch.searchsorted(ends, drawn, right=True)
        steps = ends[rows] - drawn
        return [self.episodes[row].prefix(n) for row, n in zip(rows.tolist(), steps.tolist(), strict=True)]

    def state_dict(self) -> dict[str, Tensor]:
        """Return all episodes, joined to plain tensors; an empty dict if there are none."""
        if not self.episodes:
            return {}
        inputs, actions, rewards, terminated = zip(*self.episodes, strict=True)
        joined = {"inputs": torch.cat(inputs), "actions": torch.cat(actions), "rewards": torch.cat(rewards)}
        return joined | {"terminated": torch.tensor(terminated), "lengths": _lengths(self.episodes)}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Replace all episodes by those of a :meth:`state_dict`."""
        self.episodes, self.transitions = [], 0
        if state_dict:
            lengths = state_dict["lengths"]
            inputs = state_dict["inputs"].split((lengths + 1).tolist())
            actions, rewards = (state_dict[name].split(lengths.tolist()) for name in ("actions", "rewards"))
            self.add(map(Episode, inputs, actions, rewards, state_dict["terminated"].tolist()))


def padded(
    episodes: Sequence[Episode], last_step_only: bool = False, world_size: int = 1, rank: int = 0
) -> Batch:
    """Return the share of a process in a global batch whose longest episode has T steps.

    Returns:
        Inputs (B, T + 1, I), actions (B, T), rewards (B, T), terminated (B, T), and weights (B, T). Weights are
        0 for padding and, with ``last_step_only``, for all but the last transition of each episode. They sum to
        ``world_size`` over all processes, so the mean loss of all processes is the mean over transitions.
    """
    share = share_of(len(episodes), world_size, rank)
    columns = zip(*((episode.inputs, episode.actions, episode.rewards) for episode in episodes), strict=True)
    inputs, actions, rewards = (pad_sequence(list(column), batch_first=True)[share] for column in columns)
    terminated = torch.tensor([episode.terminated for episode in episodes]).unsqueeze(1)
    lengths = _lengths(episodes).unsqueeze(1)
    steps = torch.arange(int(lengths.max()))
    last = steps == lengths - 1
    learnt = last if last_step_only else steps < lengths
    weights = learnt[share] * (world_size / int(learnt.sum()))
    return inputs, actions, rewards, (last & terminated)[share], weights


def histories(episodes: Sequence[Episode]) -> tuple[Tensor, Tensor]:
    """Return the inputs of the network before the last action: sequences (B, T, I) and lengths (B,)."""
    sequences = pad_sequence([episode.inputs[:-1] for episode in episodes], batch_first=True)
    return sequences, _lengths(episodes)


def _lengths(episodes: Iterable[Episode]) -> Tensor:
    return torch.tensor([len(episode.actions) for episode in episodes])


class LazyLoader:
    """A loader of ``batches`` batches, each drawn only on request, so that it can use the latest episodes.

    ``draw`` gets the number of the batch since the start of the training. Lightning saves that number in every
    checkpoint, so a resumed run draws the same batches.
    """

    def __init__(self, batches: int, draw: Callable[[int], Any]) -> None:
        self.batches, self.draw, self.drawn = batches, draw, 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.batches):
            self.drawn += 1
            yield self.draw(self.drawn - 1)

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.drawn = state_dict["drawn"]
