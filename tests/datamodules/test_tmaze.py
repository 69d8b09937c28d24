"""The T-Maze: its rules against a plain account of them, and its pictures."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import datamodules  # noqa: F401 - registers the environment
from datamodules.tmaze_env import DOWN, LEFT, RIGHT, UP, TMazeEnv

# Probabilities of right, up, left, down: drift to the right, so that some episodes reach the junction.
DRIFT = (1 / 2, 1 / 6, 1 / 6, 1 / 6)


class PlainMaze:
    """One episode, rule by rule, told which action is carried out in place of the chosen one."""

    def __init__(self, length: int, goal: int, intention: bool):
        self.length, self.goal, self.intention = length, goal, intention
        self.position = (0, 0)

    def observe(self) -> list[int]:
        if self.position[0] == 0:
            return [1, 0, 0, 0] if self.goal == UP else [0, 1, 0, 0]
        return [0, 0, 1, 0] if self.position[0] < self.length else [0, 0, 0, 1]

    def reward(self, action: int) -> float:
        x = self.position[0]
        if x == self.length and action in (UP, DOWN):
            return 4.0 if action == self.goal else -0.1
        cannot_move = {0: [LEFT, UP, DOWN], self.length: [RIGHT]}.get(x, [UP, DOWN])
        return -0.1 if action in cannot_move else 0.0

    def step(self, chosen: int, replacement: int | None) -> tuple[list[int], float, bool]:
        x, _ = self.position
        action = chosen if replacement is None or x == self.length else replacement
        reward = self.reward(chosen if self.intention else action)
        if action == RIGHT:
            self.position = (min(x + 1, self.length), 0)
        elif action == LEFT:
            self.position = (max(x - 1, 0), 0)
        elif x == self.length:
            self.position = (x, 1 if action == UP else -1)
        return self.observe(), reward, self.position[1] != 0


def drift(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice(4, size=shape, p=DRIFT)


def replay(
    generator: np.random.Generator, horizon: int, stochasticity: float
) -> tuple[int, list[int | None]]:
    """The goal and the replaced actions that an episode draws from its generator."""
    goal = int(generator.choice([UP, DOWN]))
    if not stochasticity:
        return goal, [None] * horizon
    replaced = generator.random(horizon) < stochasticity
    actions = generator.integers(4, size=horizon)
    return goal, [int(action) if yes else None for yes, action in zip(replaced, actions, strict=True)]


@pytest.mark.parametrize("reward", ["outcome", "intention"])
@pytest.mark.parametrize("stochasticity", [0.0, 0.4])
@pytest.mark.parametrize("length", [2, 5])
def test_episodes_follow_the_rules(length, stochasticity, reward):
    env = TMazeEnv(length, stochasticity, reward)
    actions, ends = drift(np.random.default_rng(1), 100, env.horizon), set()
    for seed in range(100):
        observation, _ = env.reset(seed=seed)
        goal, replaced = replay(np.random.default_rng(seed), env.horizon, stochasticity)
        plain = PlainMaze(length, goal, reward == "intention")
        assert observation.tolist() == plain.observe()
        for t, action in enumerate(actions[seed]):
            observation, *figures, _ = env.step(action)
            expected, earned, terminated = plain.step(int(action), replaced[t])
            assert observation.tolist() == expected
            assert figures == [earned, terminated, t + 1 == env.horizon and not terminated]
            if any(figures[1:]):
                ends.add(terminated)
                break
    assert ends == {True, False}  # both ways to end were seen


@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"length": 2, "stochasticity": 0.5, "reward": "intention"}, {"length": 3, "reward": "passive"}],
    ids=str,
)
def test_gymnasium_finds_nothing_wrong(render_mode, settings):
    env = gymnasium.make("TMaze-v0", render_mode=render_mode, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_the_settings_have_the_defaults_of_the_benchmark():
    maze = gymnasium.make("TMaze-v0").unwrapped
    assert (maze.length, maze.stochasticity, maze.reward) == (20, 0.0, "outcome")


@pytest.mark.parametrize("goal", [UP, DOWN])
def test_the_best_policy_earns_four_in_one_step_more_than_the_length(goal):
    env = TMazeEnv(length=20, goal=goal)
    observation, _ = env.reset(seed=0)
    assert observation.argmax() == [UP, DOWN].index(goal)
    steps = [env.step(action) for action in [RIGHT] * 20 + [goal]]
    assert sum(reward for _, reward, *_ in steps) == 4.0
    assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps[-2:]] == [
        (False, False),
        (True, False),
    ]


def test_the_cue_is_shown_again_on_each_return():
    env = TMazeEnv(length=3, goal=DOWN)
    first, _ = env.reset()
    corridor, *_ = env.step(RIGHT)
    again, *_ = env.step(LEFT)
    assert (corridor.tolist(), again.tolist()) == ([0, 0, 1, 0], first.tolist())


@pytest.mark.parametrize(
    ("actions", "rewards"),
    [
        ([RIGHT, RIGHT, RIGHT, RIGHT, UP], [0, 0, 0, 0, 1]),
        ([RIGHT, RIGHT, RIGHT, RIGHT, DOWN], [0, 0, 0, 0, 0]),
        ([RIGHT, RIGHT, RIGHT, RIGHT, RIGHT], [0, 0, 0, 0, 0]),
        ([RIGHT, UP, RIGHT, RIGHT, RIGHT], [0, -0.25, -0.25, -0.25, 0]),
        ([RIGHT, LEFT, RIGHT, RIGHT, UP], [0, -0.25, -0.25, -0.25, 0]),
        ([LEFT, UP, DOWN, LEFT, UP], [-0.25, -0.25, -0.25, -0.25, 0]),
    ],
    ids=str,
)
def test_the_passive_maze_pays_for_no_step_lost_and_ends_in_time(actions, rewards):
    env = TMazeEnv(length=4, reward="passive", goal=UP)
    env.reset()
    observations, found, terminated, truncated, _ = zip(*map(env.step, actions), strict=True)
    assert list(found) == rewards
    assert terminated == (False,) * 4 + (True,)
    assert not any(truncated)
    assert all(observation[:2].sum() == 0 for observation in observations)  # the cue is not shown again


@pytest.mark.parametrize(
    ("length", "stochasticity", "horizon"), [(2, 0.0, 5), (10, 0.0, 29), (10, 0.2, 38), (3, 0.5, 18)]
)
def test_time_outs_are_truncations_at_the_horizon(length, stochasticity, horizon):
    env = TMazeEnv(length, stochasticity)
    env.reset(seed=0)
    flags = [env.step(LEFT)[2:4] for _ in range(horizon)]
    assert flags == [(False, False)] * (horizon - 1) + [(False, True)]
    with pytest.raises(RuntimeError, match="reset"):
        env.step(LEFT)


def test_an_episode_that_ends_at_the_horizon_is_terminated_and_not_truncated():
    env = TMazeEnv(length=2, goal=UP)
    env.reset()
    *_, last = [env.step(action) for action in (LEFT, LEFT, RIGHT, RIGHT, UP)]
    assert last[1:4] == (4.0, True, False)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(LEFT)


def test_actions_are_replaced_as_often_as_told_but_never_the_turn():
    env, moved, at_junction = TMazeEnv(2, stochasticity=0.4), [], []
    for seed in range(4000):
        env.reset(seed=seed)
        env.step(RIGHT)
        moved.append(env.x)
        env.step(RIGHT)
        if env.x == 2:
            at_junction.append(env.step(UP)[2])
    assert np.mean(moved) == pytest.approx(1 - 0.4 * 3 / 4, abs=0.03)
    assert len(at_junction) > 1000
    assert all(at_junction)


def test_goals_are_drawn_evenly():
    env = TMazeEnv(2)
    goals = [env.reset(seed=seed) and env.goal for seed in range(2000)]
    assert goals.count(UP) / 2000 == pytest.approx(0.5, abs=0.03)


def test_text_and_picture_show_the_maze():
    env = TMazeEnv(length=4, goal=UP, render_mode="ansi")
    env.reset()
    assert env.render() == "    G\nA....\n    .\n"
    for action in (RIGHT, RIGHT, RIGHT, RIGHT, DOWN):
        env.step(action)
    assert env.render() == "    G\n.....\n    A\n"

    env = TMazeEnv(length=4, goal=DOWN, render_mode="rgb_array")
    env.reset()
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((48, 80, 3), np.uint8)
    centres = picture[8::16, 8::16]
    assert (centres[1, 0] != centres[1, 1]).any()  # agent, floor
    assert (centres[0, 4] == centres[1, 1]).all()  # both floor
    assert (centres[2, 4] != centres[0, 4]).any()  # goal, floor
    env.step(RIGHT)
    assert (env.render() != picture).any()
    assert TMazeEnv(length=4).render() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 1}, "length=1: must be at least 2"),
        ({"stochasticity": 1.0}, r"stochasticity=1.0: must be in \[0, 1\)"),
        ({"stochasticity": -0.1}, r"stochasticity=-0.1: must be in \[0, 1\)"),
        ({"stochasticity": float("nan")}, r"stochasticity=nan: must be in \[0, 1\)"),
        ({"reward": "effort"}, "reward='effort': choose one of outcome, intention, passive"),
        (
            {"reward": "passive", "stochasticity": 0.1},
            "stochasticity=0.1: must be 0 with reward='passive'",
        ),
        ({"goal": RIGHT}, r"goal=0: choose 1 \(up\) or 3 \(down\)"),
        ({"render_mode": "human"}, "render_mode='human': choose one of ansi, rgb_array"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        TMazeEnv(**settings)
