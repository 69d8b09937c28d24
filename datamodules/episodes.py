"""Episodes of an environment: they fill a replay buffer, from which batches are drawn."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from configs.data import Episodes
from datamodules.environment import Environment, Policy
from datamodules.loader import processes, share_of
from datamodules.replay import Batch, Episode, LazyLoader, Replay, histories, padded
from datamodules.streams import stream

_SIDE_BY_SIDE = 64  # random episodes played at once
_HISTORIES = 64  # in an evaluation batch
VALIDATION, TEST = "evaluation", "test evaluation"
"""Streams of the episodes by which a policy is chosen, and of those that it is tested on."""


class EpisodesDataModule(LightningDataModule, ABC):
    """Episodes of a gymnasium environment; before the fit, random episodes fill the buffer.

    All processes play the same episodes and share the batches. Everything random in an episode or a batch is a
    function of the seed and its number.

    A training batch is ``(inputs, actions, rewards, terminated, weights)``, see :func:`padded`. A batch of the
    other loaders is ``(sequences, lengths)``: histories (B, T, I) of random episodes, and their lengths (B,).

    Raises:
        ValueError: If the buffer is too small for an episode.
    """

    task, trivial_loss = "control", None
    judged_by = "discounted_return"
    solved = "solved", "solved_at"

    def __init__(self, settings: Episodes, environment: Environment, seed: int = 0) -> None:
        super().__init__()
        self.settings, self.environment, self.seed = settings, environment, seed
        self.input_size, self.output_size = environment.input_size, environment.actions
        self.replay = Replay(settings.capacity, environment.horizon)
        self.gradient_steps, self.batch_size = settings.gradient_steps, settings.batch_size
        self.episodes_played = 0
        self._exploration: dict[tuple[int, str], list[Episode]] = {}

    def setup(self, stage: str) -> None:
        """Fill the buffer before a fit, unless it already holds episodes."""
        if stage == "fit" and not self.replay.episodes:
            self.replay = self._explored(self.seed, "train")

    def train_dataloader(self) -> LazyLoader:
        """Return the training batches of ``episodes_per_epoch`` episodes."""
        share = processes(self, self.batch_size)
        prefixes = self.settings.samples == "prefixes"

        def draw(number: int) -> Batch:
            drawn = self.replay.draw_prefixes if prefixes else self.replay.draw_episodes
            episodes = drawn(self.batch_size, self._stream(self.seed, "batch", number))
            return padded(episodes, prefixes, *share)

        return LazyLoader(self.settings.episodes_per_epoch * self.gradient_steps, draw)

    def val_dataloader(self) -> LazyLoader:
        return _only(self._histories(self.seed, "val", _HISTORIES))

    def test_dataloader(self) -> list[LazyLoader]:
        """Return one loader with one batch of histories, the same for every seed."""
        return [_only(self.first_test_batch(_HISTORIES))]

    def first_test_batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return ``count`` histories for measuring multistability, the same for every seed."""
        return self._histories(0, "test", count)

    def warmup_dataloader(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of batches of random histories, without end."""
        share = share_of(batch_size, *processes(self, batch_size))
        replay = self._explored(self.seed, "train")
        for number in count():
            generator = self._stream(self.seed, "warmup", number)
            sequences, lengths = histories(replay.draw_prefixes(batch_size, generator))
            yield sequences[share], lengths[share]

    def collect(self, policy: Policy, epsilon: float) -> float:
        """Play the next episode and add it to the buffer, see :class:`datamodules.ControlBenchmark`."""
        seeds = self.seeds(self.seed, "episode", numbers=[self.episodes_played])
        (episode,) = self.environment.play(seeds, policy, epsilon)
        self.replay.add([episode])
        self.episodes_played += 1
        return float(episode.rewards.sum())

    @abstractmethod
    def evaluate(self, policy: Policy, gamma: float, split: str = VALIDATION) -> dict[str, float]:
        """Return the metrics of a policy without exploration, on the episodes of a split."""

    def test(self, policy: Policy, gamma: float) -> dict[str, float]:
        """Return the metrics of a trained policy by full name."""
        return {f"test/{name}": metric for name, metric in self.evaluate(policy, gamma, TEST).items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer and the number of the next episode."""
        return {"replay": self.replay.state_dict(), "episodes_played": self.episodes_played}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.replay.load_state_dict(state_dict["replay"])
        if not self.replay.episodes:  # all were longer than today's capacity
            self.replay = self._explored(self.seed, "train")
        self.episodes_played = state_dict["episodes_played"]

    def seeds(self, seed: int, *names: str | int, numbers: Sequence[int]) -> list[int]:
        """Return the seeds of episodes by their numbers in a named stream."""
        return [self._stream(seed, *names, number).initial_seed() for number in numbers]

    def _explored(self, seed: int, name: str) -> Replay:
        replay = Replay(self.replay.capacity, self.environment.horizon)
        episodes = self._exploration.setdefault((seed, name), [])
        while sum(len(episode.actions) for episode in episodes) < replay.capacity:
            numbers = range(len(episodes), len(episodes) + _SIDE_BY_SIDE)
            episodes += self.environment.play(self.seeds(seed, name, numbers=numbers))
        replay.add(episodes)
        return replay

    def _histories(self, seed: int, name: str, size: int) -> tuple[Tensor, Tensor]:
        return histories(self._explored(seed, name).draw_prefixes(size, self._stream(seed, name)))

    def _stream(self, seed: int, *names: str | int) -> torch.Generator:
        return stream(seed, type(self).__name__, *names)


def mean_returns(episodes: Sequence[Episode], gamma: float) -> dict[str, float]:
    """Return the ``return`` and the ``discounted_return``, averaged over episodes."""
    rewards = [episode.rewards.double() for episode in episodes]
    discounted = [float(row @ gamma ** torch.arange(len(row)).double()) for row in rewards]
    return {
        "return": sum(float(row.sum()) for row in rewards) / len(episodes),
        "discounted_return": sum(discounted) / len(episodes),
    }


def _only(batch: Any) -> LazyLoader:
    return LazyLoader(1, lambda _: batch)
