"""The T-Maze as data: what only it knows is both goals, its optimal play, and greater lengths."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from datamodules.environment import Environment, Policy
from datamodules.gym import Gym, mean_returns
from datamodules.loader import check_positive
from datamodules.replay import Episode
from datamodules.tmaze_env import DOWN, RIGHT, UP


class TMaze(Gym):
    """Episodes of ``TMaze-v0``.

    Args:
        length, stochasticity, reward: As for :class:`TMazeEnv`.
        test_multiples: Multiples of the length at which the trained policy is tested as well.
        settings: As for :class:`Gym`.
    """

    solved = "optimal", "first_optimal_episode"
    exploration = 1 / 2, 1 / 6, 1 / 6, 1 / 6  # of right, up, left, down: a drift that reaches the junction

    def __init__(
        self,
        *,
        length: int = 20,
        stochasticity: float = 0.0,
        reward: Literal["outcome", "intention", "passive"] = "outcome",
        test_multiples: Sequence[int] = (2, 5, 10, 50),
        **settings: Any,
    ) -> None:
        check_positive(**{f"test_multiples[{i}]": multiple for i, multiple in enumerate(test_multiples)})
        super().__init__(
            env_id="TMaze-v0", length=length, stochasticity=stochasticity, reward=reward, **settings
        )
        self.length, self.stochasticity, self.reward = length, stochasticity, reward
        self.test_lengths = tuple(multiple * length for multiple in test_multiples)
        # What a greedy agent reads in the corridor, from its second step on.
        self.holding_inputs = _inputs(2, RIGHT)

    def evaluate(self, policy: Policy, gamma: float, length: int | None = None) -> dict[str, float]:
        """Return how a policy does on both goals, without exploration, by default at the training's length.

        Returns:
            The figures of :class:`Gym`, with 1.0 as ``optimal`` if the policy chose the best action at every step,
            else 0.0. There are ``evaluation_episodes`` where chance decides; else one for each goal tells all.
        """
        length = length or self.length
        goals = [UP, DOWN] * (self.evaluation_episodes // 2 if self.stochasticity else 1)
        settings: dict[str, Any] = {"stochasticity": self.stochasticity, "reward": self.reward}
        environment = Environment("TMaze-v0", length=length, **settings)
        envs = environment.side_by_side(len(goals))
        envs.set_attr("told", goals)
        episodes = environment.play(self.seeds(0, "evaluation", length, numbers=range(len(goals))), policy)
        return mean_returns(episodes, gamma) | {"optimal": float(all(map(_flawless, episodes, goals)))}

    def test(self, policy: Policy, gamma: float) -> dict[str, float]:
        """Return the figures of a trained policy, with return and optimality at ``test_lengths``."""
        figures = super().test(policy, gamma)
        for length in self.test_lengths:
            found = self.evaluate(policy, gamma, length)
            figures |= {f"{name}_at_length/{length}": found[name] for name in ("return", "optimal")}
        return figures

    def waiting(self) -> dict[str, Any] | None:
        """Return the maze of every length as a task of waiting, see :class:`Waiting`; None where chance decides."""
        if self.stochasticity:
            return None
        return {
            "first": torch.cat([_inputs(0), _inputs(1)]),
            "wait": self.holding_inputs[0],
            "question": _inputs(3, RIGHT)[0],
            "patience": torch.tensor([RIGHT, RIGHT]),
            "answers": torch.tensor([UP, DOWN]),
        }


def _flawless(episode: Episode, goal: int) -> bool:
    """Return whether every action that was chosen was the best, whatever chance made of it."""
    at_junction = episode.inputs[:-1, -1] == 1  # the last observation, one-hot
    return bool((episode.actions == torch.where(at_junction, goal, RIGHT)).all())


def _inputs(observation: int, action: int | None = None) -> Tensor:
    """Return the input (1, 9) of an observation, by its number, at the beginning or after a step without reward."""
    inputs = torch.zeros(1, 9)
    inputs[0, 5 + observation] = 1
    if action is not None:
        inputs[0, action] = 1
    return inputs
