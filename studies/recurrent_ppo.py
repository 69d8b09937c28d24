"""Does a warmup harm a policy of sb3-contrib, or help it? ``python -m studies.recurrent_ppo``; 20 minutes a run.

Each row of ``studies/recurrent_ppo.csv`` is a RecurrentPPO of 80,000 steps on an environment of POPGym: with its
plain LSTMs of 128 units, with these warmed up, and with LSTMs of as many parameters that have a memory at their
side, which alone is warmed up. Rows that exist are not computed again. It needs the packages of
``pip install -e ".[popgym,strangers]"``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from lightning_warmup import Published, SideMemory, warmup
from studies.fill import fill

TABLE = Path(__file__).with_suffix(".csv")
WHAT = ("environment", "procedure", "seed")
ENVIRONMENTS = ("RepeatFirstEasy", "RepeatPreviousEasy")
UNITS = {"none": 128, "warmup": 128, "silent-equal": 180}
"""Units of the LSTMs by procedure."""
STEPS, EPISODES = 80_000, 40


class SidePolicy(RecurrentActorCriticPolicy):
    """A policy whose actor and critic have a memory at the side of their LSTM."""

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any, **settings: Any) -> None:
        super().__init__(observation_space, action_space, lr_schedule, **settings)
        for name in ("lstm_actor", "lstm_critic"):
            old = getattr(self, name)
            setattr(self, name, SideMemory("lstm", old.input_size, old.hidden_size, old.num_layers))
        make: Any = self.optimizer_class
        self.optimizer = make(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class Watch(BaseCallback):
    """Keeps the mean return of the last episodes, and warms up before the first update if it is asked to."""

    def __init__(self, warm_up: bool) -> None:
        super().__init__()
        self.warm_up = warm_up
        self.seconds = 0.0
        self.last: deque[float] = deque(maxlen=EPISODES)
        self.best = -float("inf")

    def _on_step(self) -> bool:
        self.last.extend(info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        if len(self.last) == EPISODES:
            self.best = max(self.best, statistics.mean(self.last))
        return True

    def _on_rollout_end(self) -> None:
        if not self.warm_up:
            return
        self.warm_up = False
        since = time.perf_counter()
        agent: Any = self.model
        policy = agent.policy
        observations = torch.as_tensor(agent.rollout_buffer.observations)  # (T, B, ...)
        with torch.no_grad():
            features = policy.extract_features(observations.flatten(0, 1))
        pieces = features.unflatten(0, (-1, 32, observations.shape[1])).transpose(0, 1).flatten(1, 2)
        for network in (policy.lstm_actor, policy.lstm_critic):
            warmup(network, pieces, objective=Published(extension=1))
        self.seconds = time.perf_counter() - since


def learn(environment: str, procedure: str, seed: int) -> dict[str, str]:
    """Train one policy; return what was measured."""
    import popgym  # noqa: F401 - registers the environments

    since = time.perf_counter()
    agent = RecurrentPPO(
        SidePolicy if procedure == "silent-equal" else "MlpLstmPolicy",
        make_vec_env(f"popgym-{environment}-v0", 8, seed),
        n_steps=128,
        gamma=0.9,
        learning_rate=1e-3,
        policy_kwargs={"lstm_hidden_size": UNITS[procedure]},
        seed=seed,
        device="cpu",
    )
    watch = Watch(warm_up=procedure != "none")
    agent.learn(STEPS, watch)
    found = {
        "return_at_end": statistics.mean(watch.last),
        "best_return": watch.best,
        "seconds_warmup": watch.seconds,
        "seconds": time.perf_counter() - since,
    }
    return {name: f"{value:.4g}" for name, value in found.items()}


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m studies.recurrent_ppo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--procedures", nargs="+", choices=list(UNITS), default=list(UNITS))
    options = parser.parse_args(argv)
    cases = product(range(options.seeds), ENVIRONMENTS, options.procedures)
    fill(TABLE, WHAT, [(environment, procedure, seed) for seed, environment, procedure in cases], learn)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
