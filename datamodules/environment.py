"""A gymnasium environment, which plays episodes side by side; each episode is a function of its seed."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text
from gymnasium.spaces.utils import flatten_space
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import FilterObservation, FlattenObservation, TransformAction
from torch import Tensor

from datamodules.replay import Episode

# ``actions, state = policy(inputs, state)``: the actions (N,) after further inputs (N, T, I); state None begins.
Policy = Callable[[Tensor, Any], tuple[Tensor, Any]]

# Attributes in which an environment without a time limit says how long its longest episode is.
_HORIZONS = "horizon", "max_episode_length", "max_steps"


class Environment:
    """A gymnasium environment with discrete actions.

    An input step is the previous action, one-hot, the previous reward, and the flattened observation.

    Args:
        env_id: Id of the environment, as ``module:id`` if a module has to register it.
        max_episode_steps: Steps after which an episode is cut off; None is the environment's own limit.
        exploration: Probabilities of random actions; None is uniform.
        settings: Further arguments of the environment.

    Attributes:
        horizon: Steps of the longest episode.
        input_size, actions: Numbers of inputs and actions.
        threshold: Mean return at which the environment counts as solved, or None if it does not say.

    Raises:
        ValueError: If there is no such environment, its actions are not discrete, the size of its observations
            varies, or its longest episode is unknown.
    """

    def __init__(
        self,
        env_id: str,
        max_episode_steps: int | None = None,
        exploration: Sequence[float] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.env_id, self.exploration, self._side_by_side = env_id, exploration, dict[int, Any]()
        limits = {"max_episode_steps": max_episode_steps, "disable_env_checker": True}
        self.settings = dict(settings or {}) | limits
        try:
            env = self.side_by_side(1).envs[0]
        except (gymnasium.error.Error, ImportError, NotImplementedError, ValueError) as error:
            raise ValueError(f"data.env_id={env_id!r}: {' '.join(str(error).split())}") from error
        if not isinstance(env.action_space, Discrete) or env.action_space.start:
            raise ValueError(
                f"data.env_id={env_id!r}: must have discrete actions numbered from 0, not {env.action_space}"
            )
        own = [env.get_wrapper_attr(name) for name in _HORIZONS if env.has_wrapper_attr(name)]
        own = [steps for steps in own if isinstance(steps, int) and steps > 0]
        horizons = [steps for steps in (max_episode_steps, env.spec.max_episode_steps, *own) if steps]
        if not horizons:
            raise ValueError(
                f"data.max_episode_steps=null: must be given, {env_id} does not say how long an episode is"
            )
        self.horizon, self.threshold = horizons[0], env.spec.reward_threshold
        self.actions = int(env.action_space.n)
        self.input_size = self.actions + 1 + env.observation_space.shape[0]

    def side_by_side(self, count: int) -> Any:
        """Return ``count`` copies of the environment, made only once; each has its own random generator."""
        if count not in self._side_by_side:
            self._side_by_side[count] = gymnasium.make_vec(
                self.env_id,
                count,
                "sync",  # the environments' own vectorised versions have one generator for all
                {"autoreset_mode": AutoresetMode.DISABLED, "copy": False},
                [_flat],
                **self.settings,
            )
        return self._side_by_side[count]

    def play(self, seeds: Sequence[int], policy: Policy | None = None, epsilon: float = 0.0) -> list[Episode]:
        """Play episodes side by side until all have ended.

        Args:
            seeds: One for each episode; it determines everything random in the episode, including exploration.
            policy: Chooses the actions; None means random ones. It is not called when every action is random.
            epsilon: Probability in [0, 1] that an action is random instead.

        Returns:
            The episodes, in order. The first input of each has zeros for action and reward.
        """
        envs, size, horizon = self.side_by_side(len(seeds)), len(seeds), self.horizon
        inputs = np.zeros((size, horizon + 1, self.input_size), dtype=np.float32)
        observed = inputs[:, :, self.actions + 1 :]
        actions, rewards = np.zeros((size, horizon), np.int64), np.zeros((size, horizon), np.float32)
        observed[:, 0], _ = envs.reset(seed=list(seeds))
        generators = [_generator(env.unwrapped, seed) for env, seed in zip(envs.envs, seeds, strict=True)]
        explores = np.array([generator.random(horizon) < epsilon for generator in generators])
        draws = (rng.choice(self.actions, size=horizon, p=self.exploration) for rng in generators)
        exploration = np.array([*draws])
        rows, lengths = np.arange(size), np.full(size, horizon)
        ended, terminated = np.zeros((2, size), dtype=bool)
        state, seen = None, 0
        for t in range(horizon):
            actions[:, t] = exploration[:, t]
            if policy is not None and not (explores[:, t] | ended).all():
                greedy, state = policy(torch.from_numpy(inputs[:, seen : t + 1]), state)
                actions[:, t] = np.where(explores[:, t], exploration[:, t], greedy)
                seen = t + 1
            observed[:, t + 1], rewards[:, t], terminates, truncates, _ = envs.step(actions[:, t])
            inputs[rows, t + 1, actions[:, t]], inputs[:, t + 1, self.actions] = 1, rewards[:, t]
            ends = terminates | truncates
            lengths[ends & ~ended] = t + 1
            terminated |= terminates & ~ended
            ended |= ends
            if ended.all():
                break
            if ends.any():  # an ended environment must not be stepped: begin an episode that is not used
                envs.reset(seed=list(seeds), options={"reset_mask": ends})
        x, a, r = (torch.from_numpy(array) for array in (inputs, actions, rewards))
        return [
            Episode(x[row, : n + 1].clone(), a[row, :n].clone(), r[row, :n].clone(), bool(terminated[row]))
            for row, n in enumerate(lengths.tolist())
        ]


def _generator(env: gymnasium.Env[Any, Any], seed: int) -> np.random.Generator:
    """Return the random generator of an environment, or a new one if its reset has not given it this seed."""
    known = env.np_random_seed in (seed, -1)  # -1: it has set a generator of its own
    return env.np_random if known else np.random.default_rng(seed)


def _flat(env: gymnasium.Env[Any, Any]) -> Any:
    """Flatten observations, leaving out texts, and combine several discrete actions into one."""
    actions, observations = env.action_space, env.observation_space
    if isinstance(observations, Dict):
        env = FilterObservation(
            env, [key for key, part in observations.items() if not isinstance(part, Text)]
        )
    if not isinstance(flatten_space(env.observation_space), Box):
        raise ValueError(
            f"observations must have the same number of values at every step, not {observations}"
        )
    if isinstance(actions, MultiDiscrete):
        sizes, start = tuple(actions.nvec.tolist()), actions.start
        env = TransformAction(env, lambda n: start + np.unravel_index(n, sizes), Discrete(prod(sizes)))
    return FlattenObservation(env)
