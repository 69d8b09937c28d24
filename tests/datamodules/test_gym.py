"""Any gymnasium environment as data: how its spaces are read, when its episodes end, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
import torch
from benchmark import benchmark
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiDiscrete, Sequence, Text, Tuple

from datamodules.environment import Environment


class Odd(gymnasium.Env):
    """An environment of unlike parts: it ends after 1 to 6 steps, is cut after 5, and repeats its actions."""

    def __init__(self, max_steps: int | None = 5, actions: gymnasium.Space | None = None) -> None:
        if max_steps is not None:
            self.max_steps = max_steps
        self.observation_space = Dict({"sum": Box(-9, 9, (2,)), "kind": Discrete(3), "text": Text(5)})
        self.action_space = actions or MultiDiscrete([2, 3], start=[1, 0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left, self.taken = int(self.np_random.integers(1, 7)), 0
        return self.observe(np.zeros(2)), {}

    def observe(self, action) -> dict:
        return {"sum": np.asarray(action, np.float32), "kind": self.left % 3, "text": "hello"}

    def step(self, action):
        assert self.left > 0 and self.taken < 5, "stepped after its end"  # noqa: PT018
        assert action in self.action_space
        self.left, self.taken = self.left - 1, self.taken + 1
        return self.observe(action), float(self.left), self.left == 0, self.taken == 5 and self.left > 0, {}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register("Odd-v0", entry_point=Odd, reward_threshold=2.5)
    gymnasium.register("Shifted-v0", entry_point=Odd, kwargs={"actions": Discrete(3, start=1)})
    gymnasium.register("Endless-v0", entry_point=Odd, kwargs={"max_steps": None})
    yield
    for name in ("Odd-v0", "Shifted-v0", "Endless-v0"):
        del gymnasium.registry[name]


def test_spaces_become_numbers_and_episodes_end_as_the_environment_says():
    odd = Environment("Odd-v0")
    assert (odd.horizon, odd.actions, odd.input_size, odd.threshold) == (5, 6, 6 + 1 + 3 + 2, 2.5)
    episodes = odd.play(range(40))
    assert {len(episode.actions) for episode in episodes} == {1, 2, 3, 4, 5}
    for seed, episode in enumerate(episodes):
        steps = left = int(np.random.default_rng(seed).integers(1, 7))
        assert len(episode.actions) == min(steps, 5)
        assert episode.terminated == (steps < 6)
        assert episode.inputs[0].tolist() == [0] * 7 + np.eye(3)[left % 3].tolist() + [0, 0]
        for action, reward, row in zip(episode.actions, episode.rewards, episode.inputs[1:], strict=True):
            left -= 1
            parts = [1 + int(action) // 3, int(action) % 3]
            assert reward == left
            assert row.tolist() == [*np.eye(6)[action], left, *np.eye(3)[left % 3], *parts]


def test_an_episode_is_a_function_of_its_seed_and_the_policy():
    def copies(inputs, state):
        return inputs[:, -1, -1].long(), state

    odd = Environment("Odd-v0")
    beside = odd.play(range(20), copies, 0.5)
    for seed, episode in enumerate(beside):
        (alone,) = odd.play([seed], copies, 0.5)
        assert all(map(torch.equal, alone[:3], episode[:3]))
    actions = torch.cat([episode.actions for episode in Environment("Odd-v0").play(range(300))])
    assert torch.bincount(actions) / len(actions) == pytest.approx(torch.full((6,), 1 / 6), abs=0.04)


class Unseeded(Odd):
    """Does not hand its seed on, and does not use it."""

    def reset(self, *, seed=None, options=None):
        self.left, self.taken = 5, 0
        return self.observe(np.zeros(2)), {}


def test_exploration_is_a_function_of_the_seed_where_an_environment_does_not_take_it():
    gymnasium.register("Unseeded-v0", entry_point=Unseeded)
    try:
        one, again = (Environment("Unseeded-v0").play([1, 2]) for _ in range(2))
    finally:
        del gymnasium.registry["Unseeded-v0"]
    assert all(torch.equal(a.actions, b.actions) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0].actions, one[1].actions)


def test_the_best_policy_is_chosen_by_what_the_threshold_is_of():
    assert benchmark("gym").judged_by == "return"
    assert benchmark("tmaze").judged_by == "discounted_return"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_episode_steps": 3}, "data.env_kwargs: must be without max_episode_steps"),
        ({"exploration": 0.5}, r"data.env_kwargs=\{'exploration': 0.5\}: must be arguments of Odd-v0"),
    ],
)
def test_arguments_that_are_not_the_environments_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        benchmark("gym", env_id="Odd-v0", env_kwargs=given)


def test_a_setting_cuts_episodes_shorter():
    lengths, ended = zip(
        *((len(e.actions), e.terminated) for e in Environment("Odd-v0", 3).play(range(40))), strict=True
    )
    assert max(lengths) == 3
    assert {True, False} == {end for length, end in zip(lengths, ended, strict=True) if length == 3}


def test_a_policy_is_judged_on_the_same_episodes_every_time_and_by_a_threshold():
    def first(inputs, state):
        return torch.zeros(len(inputs), dtype=torch.int64), state

    figures = benchmark("gym", env_id="Odd-v0").evaluate(first, 0.0)
    assert figures == benchmark("gym", env_id="Odd-v0", seed=5).evaluate(first, 0.0)
    assert figures["return"] > figures["discounted_return"] > 0
    assert figures["solved"] == (figures["return"] >= 2.5)
    for threshold, solved in ((figures["return"], 1.0), (figures["return"] + 0.1, 0.0)):
        assert benchmark("gym", env_id="Odd-v0", threshold=threshold).evaluate(first, 0.0)["solved"] == solved
    assert "solved" not in benchmark("gym").evaluate(first, 0.0)  # the T-Maze names no threshold
    assert {"test/return", "test/solved"} < set(benchmark("gym", env_id="Odd-v0").test(first, 1.0))


def test_a_policy_is_tested_on_other_episodes_than_those_that_chose_it():
    data, seen = benchmark("gym", env_id="Odd-v0"), []

    def first(inputs, state):
        return torch.zeros(len(inputs), dtype=torch.int64), state

    play = data.environment.play
    data.environment.play = lambda seeds, *rest: seen.append(seeds) or play(seeds, *rest)
    data.evaluate(first, 0.0)
    data.test(first, 0.0)
    data.test(first, 0.0)
    validated, tested, again = seen
    assert not set(validated) & set(tested)
    assert tested == again


def test_the_arguments_of_an_environment_are_settings():
    def lake(**kwargs):
        return benchmark("gym", env_id="FrozenLake-v1", env_kwargs=kwargs).environment

    def right(inputs, state):
        return torch.full((len(inputs),), 2), state

    assert lake(map_name="8x8").input_size == 4 + 1 + 64
    places = [row[5:].argmax() for row in lake(is_slippery=False).play([0], right)[0].inputs]
    assert places[:4] == [0, 1, 2, 3]  # without chance, to the right


class Observes(gymnasium.Env):
    """An environment with given observations."""

    action_space = Discrete(2)

    def __init__(self, space: gymnasium.Space) -> None:
        self.observation_space = space


@pytest.mark.parametrize(
    "space",
    [
        Sequence(Box(0, 1, (2,))),
        Sequence(Discrete(2), stack=True),
        Dict({"many": Sequence(Discrete(2)), "one": Discrete(2)}),
        Tuple([Discrete(2), Graph(Box(0, 1, (2,)), None)]),
    ],
    ids=lambda space: type(space).__name__,
)
def test_observations_of_changing_size_are_refused_in_one_line(space):
    gymnasium.register("Observes-v0", Observes, max_episode_steps=3, kwargs={"space": space})
    wanted = "must have the same number of values at every step"
    message = rf"^data.env_id='Observes-v0': observations {wanted}, not [^\n]*$"
    with pytest.raises(ValueError, match=message):
        Environment("Observes-v0")
    del gymnasium.registry["Observes-v0"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"env_id": "Pendulum-v1"},
            "data.env_id='Pendulum-v1': must have discrete actions numbered from 0, not Box",
        ),
        ({"env_id": "Shifted-v0"}, "must have discrete actions numbered from 0"),
        ({"env_id": "Even-v0"}, "data.env_id='Even-v0': Environment `Even` doesn't exist"),
        ({"env_id": "nowhere:Even-v0"}, "data.env_id='nowhere:Even-v0': .*nowhere"),
        (
            {"env_id": "Endless-v0"},
            "data.max_episode_steps=null: must be given, Endless-v0 does not say how long",
        ),
        (
            {"env_id": "CartPole-v1", "capacity": 499},
            "capacity=499: must be at least 500, the steps of the longest",
        ),
        (
            {"env_id": "FrozenLake-v1", "env_kwargs": {"slip": 1}},
            r"^data.env_kwargs=\{'slip': 1\}: must be arguments of FrozenLake-v1, which raises TypeError.*'slip'",
        ),
        (
            {"env_id": "FrozenLake-v1", "env_kwargs": {"map_name": "9x9"}},
            "must be arguments of FrozenLake-v1, which raises KeyError",
        ),
        ({"env_kwargs": {"length": 1}}, "data.env_id='TMaze-v0': length=1: must be at least 2"),
        ({"evaluation_episodes": 0}, "evaluation_episodes=0: must be whole number >= 1"),
    ],
)
def test_what_cannot_be_learnt_is_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        benchmark("gym", **settings)
    assert "\n" not in str(caught.value)


def test_every_environment_of_popgym_with_discrete_actions_plays():
    pytest.importorskip("popgym")
    played = 0
    for name in [name for name in gymnasium.registry if name.startswith("popgym")]:
        if isinstance(gymnasium.make(name).action_space, Box):
            continue
        environment = Environment(name, 12)
        for one, other in zip(environment.play([1, 2]), environment.play([1, 2]), strict=True):
            assert all(map(torch.equal, one[:3], other[:3])), name
        played += 1
    assert played >= 30
