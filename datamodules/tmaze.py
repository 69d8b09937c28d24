"""The T-Maze as data: what only it knows is both goals, its optimal play, and greater lengths."""

from typing import cast

import torch
from torch import Tensor

from configs import data
from datamodules.environment import Environment, Policy
from datamodules.episodes import EpisodesDataModule, mean_returns
from datamodules.replay import Episode
from datamodules.tmaze_env import DOWN, RIGHT, UP
from lightning_warmup.proofs.automata import Automaton

EXPLORATION = 1 / 2, 1 / 6, 1 / 6, 1 / 6  # of right, up, left, down: a drift that reaches the junction


def maze(settings: data.TMaze, length: int) -> Environment:
    """Return the maze of some settings, of any length."""
    return Environment(
        "TMaze-v0",
        exploration=EXPLORATION,
        length=length,
        stochasticity=settings.stochasticity,
        reward=settings.reward,
    )


class TMaze(EpisodesDataModule):
    """Episodes of ``TMaze-v0``.

    Args:
        settings: Settings of the benchmark.
        seed: As for :class:`EpisodesDataModule`.
    """

    solved = "optimal", "first_optimal_episode"

    def __init__(self, settings: data.TMaze, seed: int = 0) -> None:
        super().__init__(settings, maze(settings, settings.length), seed)
        self.length, self.stochasticity = settings.length, settings.stochasticity
        self.test_lengths = tuple(multiple * self.length for multiple in settings.test_multiples)
        # What a greedy agent reads in the corridor, from its second step on.
        self.holding_inputs = _inputs(2, RIGHT)

    def evaluate(self, policy: Policy, gamma: float, length: int | None = None) -> dict[str, float]:
        """Return how a policy does on both goals, without exploration, by default at the training's length.

        Returns:
            The mean ``return`` and ``discounted_return``, and 1.0 as ``optimal`` if the policy chose the best
            action at every step, else 0.0. There are ``evaluation_episodes`` where chance decides; else one for
            each goal tells all.
        """
        length = length or self.length
        goals = [UP, DOWN] * (self.settings.evaluation_episodes // 2 if self.stochasticity else 1)
        environment = maze(cast(data.TMaze, self.settings), length)
        envs = environment.side_by_side(len(goals))
        envs.set_attr("told", goals)
        episodes = environment.play(self.seeds(0, "evaluation", length, numbers=range(len(goals))), policy)
        return mean_returns(episodes, gamma) | {"optimal": float(all(map(_flawless, episodes, goals)))}

    def test(self, policy: Policy, gamma: float) -> dict[str, float]:
        """Return the metrics of a trained policy, with return and optimality at ``test_lengths``."""
        metrics = super().test(policy, gamma)
        for length in self.test_lengths:
            found = self.evaluate(policy, gamma, length)
            metrics |= {f"{name}_at_length/{length}": found[name] for name in ("return", "optimal")}
        return metrics

    @property
    def longest(self) -> int:
        """Symbols of an episode of the training: cue, corridor and junction."""
        return self.length + 1

    def length_of(self, symbols: int) -> int:
        """Return the maze, of two steps at least, whose best play reads so many symbols."""
        return max(2, symbols - 1)

    def automaton(self) -> Automaton | None:
        """Return best play in mazes of every length; None with stochasticity, as the corridor then varies."""
        if self.stochasticity:
            return None
        moves: dict[tuple[str, str], str] = {}
        answers: dict[str, int] = {}
        for goal, action in (("up", UP), ("down", DOWN)):
            moves |= {("start", f"cue {goal}"): goal, (goal, "corridor"): goal}
            moves[goal, "junction"] = f"turn {goal}"
            answers |= {goal: RIGHT, f"turn {goal}": action}
        symbols = {
            "cue up": _inputs(0)[0],
            "cue down": _inputs(1)[0],
            "corridor": _inputs(2, RIGHT)[0],
            "junction": _inputs(3, RIGHT)[0],
        }
        return Automaton(["start", *answers], symbols, moves, answers)


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
