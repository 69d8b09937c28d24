"""Any gymnasium environment with discrete actions."""

from typing import Any

from configs import data
from datamodules import repeat_first
from datamodules.environment import Environment, Policy
from datamodules.episodes import VALIDATION, EpisodesDataModule, mean_returns
from lightning_warmup.proofs.automata import Automaton


class Gym(EpisodesDataModule):
    """Episodes of a gymnasium environment.

    Attributes:
        threshold: Mean return at which the environment counts as solved, or None if it is unknown.
    """

    settings: data.Gym
    judged_by = "return"  # as a threshold is

    def __init__(self, settings: data.Gym, seed: int = 0) -> None:
        given: dict[str, Any] = settings.env_kwargs
        if "max_episode_steps" in given:
            raise ValueError(
                "data.env_kwargs: must be without max_episode_steps, give data.max_episode_steps"
            )
        try:
            environment = Environment(settings.env_id, settings.max_episode_steps, settings=given)
        except (TypeError, KeyError, AssertionError) as error:
            raise ValueError(
                f"data.env_kwargs={given}: must be arguments of {settings.env_id}, which raises {error!r}"
            ) from error
        super().__init__(settings, environment, seed)
        self.threshold = self.environment.threshold if settings.threshold is None else settings.threshold

    def evaluate(self, policy: Policy, gamma: float, split: str = VALIDATION) -> dict[str, float]:
        """Return the mean ``return`` and ``discounted_return`` of a policy without exploration.

        If there is a threshold, ``solved`` is 1.0 if the return reaches it, and otherwise 0.0.
        """
        seeds = self.seeds(0, split, numbers=range(self.settings.evaluation_episodes))
        metrics = mean_returns(self.environment.play(seeds, policy), gamma)
        if self.threshold is not None:
            metrics["solved"] = float(metrics["return"] >= self.threshold)
        return metrics

    @property
    def longest(self) -> int:
        """Symbols of an episode; the last one is not answered."""
        return self.environment.horizon

    def length_of(self, symbols: int) -> int:
        """Return the length of an episode: its number of symbols."""
        return symbols

    def automaton(self) -> Automaton | None:
        """Return the language of POPGym's RepeatFirst, and None for other environments."""
        return repeat_first.automaton() if "popgym-RepeatFirst" in self.settings.env_id else None
