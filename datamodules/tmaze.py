"""The T-Maze: its episodes, tests on both goals and at greater lengths, and the language of its best play."""

import torch
from torch import Tensor

from configs import data
from datamodules.environment import Environment, Policy
from datamodules.episodes import TEST, VALIDATION, EpisodesDataModule, mean_returns
from datamodules.replay import Episode
from datamodules.tmaze_env import DOWN, PENALTY, RIGHT, UP
from lightning_warmup.proofs.automata import Automaton, Symbol

ACTIONS = 4
EXPLORATION = 1 / 2, 1 / 6, 1 / 6, 1 / 6  # right, up, left, down: this drift reaches the junction


def maze(settings: data.TMaze, length: int) -> Environment:
    """Return a maze with these settings and another length."""
    return Environment(
        "TMaze-v0",
        exploration=EXPLORATION,
        settings={"length": length, "stochasticity": settings.stochasticity, "reward": settings.reward},
    )


class TMaze(EpisodesDataModule):
    """Episodes of ``TMaze-v0``."""

    settings: data.TMaze
    solved = "optimal", "first_optimal_episode"

    def __init__(self, settings: data.TMaze, seed: int = 0) -> None:
        super().__init__(settings, maze(settings, settings.length), seed)
        self.length, self.stochasticity = settings.length, settings.stochasticity
        self.test_lengths = tuple(multiple * self.length for multiple in settings.test_multiples)
        # The input of a greedy agent in the corridor, from its second step on.
        self.holding_inputs = _inputs(2, RIGHT).unsqueeze(0)

    def evaluate(
        self, policy: Policy, gamma: float, split: str = VALIDATION, length: int | None = None
    ) -> dict[str, float]:
        """Return the metrics of a policy without exploration, for both goals, at the training length or another.

        Returns:
            The mean ``return`` and ``discounted_return``, and ``optimal``: 1.0 if the policy always chose the best
            action, otherwise 0.0. It plays ``evaluation_episodes`` with stochasticity, otherwise one per goal.
        """
        length = length or self.length
        count = self.settings.evaluation_episodes if self.stochasticity else 2
        goals = ([UP, DOWN] * count)[:count]
        environment = maze(self.settings, length)
        envs = environment.side_by_side(len(goals))
        envs.set_attr("told", goals)
        episodes = environment.play(self.seeds(0, split, length, numbers=range(len(goals))), policy)
        return mean_returns(episodes, gamma) | {"optimal": float(all(map(_flawless, episodes, goals)))}

    def test(self, policy: Policy, gamma: float) -> dict[str, float]:
        """Return the metrics of a trained policy, and its return and optimality at ``test_lengths``."""
        metrics = super().test(policy, gamma)
        for length in self.test_lengths:
            found = self.evaluate(policy, gamma, TEST, length)
            metrics |= {f"{name}_at_length/{length}": found[name] for name in ("return", "optimal")}
        return metrics

    @property
    def longest(self) -> int:
        """Symbols of a training episode: cue, corridor and junction."""
        return self.length + 1

    def length_of(self, symbols: int) -> int:
        """Return the length, at least 2, of the maze whose best play has this number of symbols."""
        return max(2, symbols - 1)

    def automaton(self) -> Automaton:
        """Return the best play in mazes of every length.

        With stochasticity, the agent may bump into a wall and be fined, and may come back to the cue, in any order
        and any number of times. Each fine may be anything from 0 to the largest.
        """
        moves: dict[tuple[str, str], str] = {}
        answers: dict[str, int] = {}
        for goal, action in (("up", UP), ("down", DOWN)):
            moves |= {("start", f"cue {goal}"): goal, (goal, "corridor"): goal}
            moves[goal, "junction"] = f"turn {goal}"
            answers |= {goal: RIGHT, f"turn {goal}": action}
        symbols: dict[str, Symbol] = {
            "cue up": _inputs(0),
            "cue down": _inputs(1),
            "corridor": _inputs(2, RIGHT),
            "junction": _inputs(3, RIGHT),
        }
        if self.stochasticity:
            fine = PENALTY * torch.eye(9)[ACTIONS]  # the reward stands after the actions
            symbols["corridor"] = _inputs(2, RIGHT) + fine, _inputs(2, RIGHT)
            for number, goal in enumerate(("up", "down")):
                cue = _inputs(number, RIGHT)
                symbols[f"cue {goal} again"] = cue + fine, cue
                moves[goal, f"cue {goal} again"] = goal
        return Automaton(["start", *answers], symbols, moves, answers)


def _flawless(episode: Episode, goal: int) -> bool:
    """Return whether every chosen action was the best one, even if chance replaced it."""
    at_junction = episode.inputs[:-1, -1] == 1  # the last observation, one-hot
    return bool((episode.actions == torch.where(at_junction, goal, RIGHT)).all())


def _inputs(observation: int, action: int | None = None) -> Tensor:
    """Return the input (9,) of an observation, at the start or after an action without reward."""
    inputs = torch.zeros(9)
    inputs[5 + observation] = 1
    if action is not None:
        inputs[action] = 1
    return inputs
