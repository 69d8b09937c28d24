"""Any gymnasium environment with discrete actions."""

from typing import Any

from configs import data
from datamodules.environment import Environment, Policy
from datamodules.episodes import EpisodesDataModule, mean_returns


class Gym(EpisodesDataModule):
    """Episodes of a gymnasium environment.

    Args:
        settings: Settings of the benchmark.
        seed: As for :class:`EpisodesDataModule`.

    Attributes:
        threshold: Mean return from which on the environment counts as solved, or None if nobody says.

    Raises:
        ValueError: As :class:`EpisodesDataModule` and :class:`Environment`.
    """

    def __init__(self, settings: data.Gym, seed: int = 0) -> None:
        given: dict[str, Any] = settings.env_kwargs
        try:
            environment = Environment(settings.env_id, settings.max_episode_steps, **given)
        except (TypeError, KeyError, AssertionError) as error:
            if not given:
                raise
            raise ValueError(f"data.env_kwargs={given}: {settings.env_id} refuses them: {error!r}") from error
        super().__init__(settings, environment, seed)
        self.threshold = self.environment.threshold if settings.threshold is None else settings.threshold

    def evaluate(self, policy: Policy, gamma: float) -> dict[str, float]:
        """Return how a policy does without exploration.

        Returns:
            Means over the episodes of the ``return`` and, with a discount ``gamma`` in [0, 1], of the
            ``discounted_return``; where there is a threshold, 1.0 as ``solved`` if the return reaches it, else 0.0.
        """
        seeds = self.seeds(0, "evaluation", numbers=range(self.settings.evaluation_episodes))
        metrics = mean_returns(self.environment.play(seeds, policy), gamma)
        if self.threshold is not None:
            metrics["solved"] = float(metrics["return"] >= self.threshold)
        return metrics
