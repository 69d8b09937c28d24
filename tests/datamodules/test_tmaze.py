"""The T-Maze: its rules against a plain account of them, episodes side by side and single ones, pictures."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import datamodules  # noqa: F401 - registers the environment
from datamodules.tmaze_env import DOWN, LEFT, RIGHT, UP, TMazeEnv, VectorTMaze

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
        x, arm = self.position
        if arm:
            return self.observe(), 0.0, True
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
def test_episodes_side_by_side_follow_the_rules(length, stochasticity, reward):
    maze = VectorTMaze(length, stochasticity, reward)
    observations = maze.reset([np.random.default_rng(seed) for seed in range(100)])
    episodes = [replay(np.random.default_rng(seed), maze.horizon, stochasticity) for seed in range(100)]
    plain = [PlainMaze(length, goal, reward == "intention") for goal, _ in episodes]
    assert observations.tolist() == [single.observe() for single in plain]
    ended = np.zeros(100, dtype=bool)
    for t, actions in enumerate(drift(np.random.default_rng(1), maze.horizon, 100)):
        observations, rewards, terminated, truncated = maze.step(actions)
        expected = [single.step(int(actions[i]), episodes[i][1][t]) for i, single in enumerate(plain)]
        assert observations.tolist() == [step[0] for step in expected]
        assert rewards.tolist() == [step[1] for step in expected]
        assert terminated.tolist() == [step[2] for step in expected]
        assert truncated.tolist() == [t + 1 == maze.horizon and not step[2] for step in expected]
        ended |= terminated
    assert 0 < ended.sum() < 100  # both ways to end were seen


@pytest.mark.parametrize("reward", ["outcome", "intention"])
@pytest.mark.parametrize("stochasticity", [0.0, 0.3])
def test_an_episode_is_the_same_alone_and_beside_others(stochasticity, reward):
    maze = VectorTMaze(4, stochasticity, reward)
    actions = drift(np.random.default_rng(0), maze.horizon, 40)
    beside = [maze.reset([np.random.default_rng(seed) for seed in range(40)]), *map(maze.step, actions)]
    for i in range(40):
        env = gymnasium.make("TMaze-v0", length=4, stochasticity=stochasticity, reward=reward)
        observation, info = env.reset(seed=i)
        assert observation.tolist() == beside[0][i].tolist()
        assert info == {}
        for t in range(maze.horizon):
            observation, *figures, info = env.step(actions[t, i])
            assert observation.tolist() == beside[t + 1][0][i].tolist()
            assert figures == [array[i] for array in beside[t + 1][1:]]
            if figures[1] or figures[2]:
                break


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
    maze = gymnasium.make("TMaze-v0").unwrapped.maze
    assert (maze.length, maze.stochasticity, maze.reward) == (20, 0.0, "outcome")


@pytest.mark.parametrize("goal", [UP, DOWN])
def test_the_best_policy_earns_four_in_one_step_more_than_the_length(goal):
    env = TMazeEnv(length=20)
    observation, _ = env.reset(seed=0, options={"goal": goal})
    assert observation.argmax() == [UP, DOWN].index(goal)
    steps = [env.step(action) for action in [RIGHT] * 20 + [goal]]
    assert sum(reward for _, reward, *_ in steps) == 4.0
    assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps[-2:]] == [
        (False, False),
        (True, False),
    ]


def test_the_cue_is_shown_again_on_each_return():
    env = TMazeEnv(length=3)
    first, _ = env.reset(options={"goal": DOWN})
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
    env = TMazeEnv(length=4, reward="passive")
    env.reset(options={"goal": UP})
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
    env = TMazeEnv(length=2)
    env.reset(options={"goal": UP})
    *_, last = [env.step(action) for action in (LEFT, LEFT, RIGHT, RIGHT, UP)]
    assert last[1:4] == (4.0, True, False)


def test_actions_are_replaced_as_often_as_told_but_never_the_turn():
    maze = VectorTMaze(2, stochasticity=0.4)
    maze.reset([np.random.default_rng(seed) for seed in range(4000)])
    maze.step(np.full(4000, RIGHT))
    assert (maze.x == 1).mean() == pytest.approx(1 - 0.4 * 3 / 4, abs=0.03)
    maze.step(np.full(4000, RIGHT))
    junction = maze.x == 2
    *_, terminated, _ = maze.step(np.full(4000, UP))
    assert junction.sum() > 1000
    assert np.array_equal(terminated, junction)


def test_goals_are_drawn_evenly_or_chosen():
    generators = [np.random.default_rng(seed) for seed in range(4000)]
    maze = VectorTMaze(2)
    maze.reset(generators)
    assert (maze.goals == UP).mean() == pytest.approx(0.5, abs=0.03)
    maze.reset(generators[:3], goals=[DOWN, UP, DOWN])
    assert maze.goals.tolist() == [DOWN, UP, DOWN]


def test_text_and_picture_show_the_maze():
    env = TMazeEnv(length=4, render_mode="ansi")
    env.reset(options={"goal": UP})
    assert env.render() == "    G\nA....\n    .\n"
    for action in (RIGHT, RIGHT, RIGHT, RIGHT, DOWN):
        env.step(action)
    assert env.render() == "    G\n.....\n    A\n"

    env = TMazeEnv(length=4, render_mode="rgb_array")
    env.reset(options={"goal": DOWN})
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
        ({"render_mode": "human"}, "render_mode='human': choose one of ansi, rgb_array"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        TMazeEnv(**settings)


def test_an_impossible_goal_is_refused():
    with pytest.raises(ValueError, match=r"goal=0: choose 1 \(up\) or 3 \(down\)"):
        TMazeEnv().reset(options={"goal": RIGHT})
