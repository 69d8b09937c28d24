"""The replay buffer and the T-Maze as data: against plain accounts of what was played, and resumed."""

from __future__ import annotations

import io
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from benchmark import benchmark

from configs.data import TMaze as Settings
from datamodules.environment import Environment
from datamodules.replay import Episode, LazyLoader, Replay, histories, padded
from datamodules.tmaze import EXPLORATION
from datamodules.tmaze_env import DOWN, LEFT, RIGHT, UP, TMazeEnv


def episode(steps: int, terminated: bool = True, seed: int = 0) -> Episode:
    rng = np.random.default_rng(1000 * seed + steps)
    return Episode(
        torch.tensor(rng.random((steps + 1, 3)), dtype=torch.float32),
        torch.tensor(rng.integers(4, size=steps)),
        torch.tensor(rng.random(steps), dtype=torch.float32),
        terminated,
    )


def filled(*lengths: int, capacity: int = 1000) -> Replay:
    replay = Replay(capacity, max(lengths))
    replay.add(episode(steps, terminated=bool(steps % 2), seed=k) for k, steps in enumerate(lengths))
    return replay


def lengths(episodes: list[Episode]) -> list[int]:
    return [len(single.actions) for single in episodes]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(one: Episode, other: Episode) -> bool:
    tensors = zip(one[:3], other[:3], strict=True)
    return one.terminated == other.terminated and all(torch.equal(a, b) for a, b in tensors)


def test_the_oldest_episodes_go_when_the_transitions_exceed_the_capacity():
    rng, replay, expected = np.random.default_rng(0), Replay(50, 20), []
    for steps in rng.integers(1, 21, size=100).tolist():
        replay.add([episode(steps)])
        expected.append(steps)
        while sum(expected) > 50:
            del expected[0]
        assert lengths(replay.episodes) == expected
        assert replay.transitions == sum(expected)


def test_episodes_are_drawn_without_repetition_where_there_are_enough():
    replay = filled(*range(1, 11))
    for seed in range(20):
        drawn = replay.draw_episodes(7, generator(seed))
        assert len(set(lengths(drawn))) == 7
    drawn = lengths(replay.draw_episodes(25, generator()))
    assert {drawn.count(steps) for steps in range(1, 11)} == {2, 3}
    assert {
        steps for seed in range(50) for steps in lengths(replay.draw_episodes(1, generator(seed)))
    } == set(range(1, 11))


def test_prefixes_lead_to_transitions_drawn_uniformly():
    replay = filled(1, 2, 5)
    drawn = replay.draw_prefixes(8000, generator())
    for whole in replay.episodes:
        count = len(whole.actions)
        of_it = [single for single in drawn if torch.equal(single.inputs[0], whole.inputs[0])]
        for steps in range(1, count + 1):
            prefixes = [single for single in of_it if len(single.actions) == steps]
            assert len(prefixes) / 8000 == pytest.approx(1 / 8, abs=0.02)
            expected = Episode(
                whole.inputs[: steps + 1],
                whole.actions[:steps],
                whole.rewards[:steps],
                whole.terminated and steps == count,
            )
            assert same(prefixes[0], expected)


@pytest.mark.parametrize("last_step_only", [False, True])
def test_a_batch_holds_what_a_plain_account_of_it_says(last_step_only):
    episodes = [episode(steps, terminated) for steps, terminated in [(3, True), (5, False), (1, True)]]
    inputs, actions, rewards, terminated, weights = padded(episodes, last_step_only)
    assert inputs.shape == (3, 6, 3)
    learnt = 0
    for row, single in enumerate(episodes):
        steps = len(single.actions)
        assert torch.equal(inputs[row, : steps + 1], single.inputs)
        for t in range(5):
            counts = t == steps - 1 if last_step_only else t < steps
            learnt += counts
            assert weights[row, t] == pytest.approx(counts / (3 if last_step_only else 9))
            assert terminated[row, t] == (t == steps - 1 and single.terminated)
            if t < steps:
                assert (actions[row, t], rewards[row, t]) == (single.actions[t], single.rewards[t])
    assert weights.sum() == pytest.approx(1)
    assert learnt == (3 if last_step_only else 9)


@pytest.mark.parametrize("last_step_only", [False, True])
def test_processes_share_a_batch_and_their_mean_is_that_of_one_process(last_step_only):
    episodes = [episode(steps) for steps in (3, 5, 1, 2)]
    whole = padded(episodes, last_step_only)
    shares = [padded(episodes, last_step_only, world_size=2, rank=rank) for rank in (0, 1)]
    for row, single in enumerate(episodes):
        share = shares[row // 2]
        steps = len(single.actions)
        assert torch.equal(share[0][row % 2, : steps + 1], single.inputs)
        torch.testing.assert_close(share[4][row % 2, :steps] / 2, whole[4][row, :steps])
    assert sum(len(share[0]) for share in shares) == 4


def test_histories_end_before_the_last_action():
    sequences, steps = histories([episode(2), episode(4)])
    assert (sequences.shape, steps.tolist()) == ((2, 4, 3), [2, 4])
    assert torch.equal(sequences[0, :2], episode(2).inputs[:2])
    assert torch.equal(sequences[1], episode(4).inputs[:4])


def test_the_state_survives_a_file_that_is_loaded_without_code():
    for replay in (filled(3, 1, 4, 1, 5), filled(4, 3, 2, capacity=6)):
        file = io.BytesIO()
        torch.save(replay.state_dict(), file)
        file.seek(0)
        restored = filled(2, capacity=replay.capacity)
        restored.load_state_dict(torch.load(file, weights_only=True))
        assert restored.transitions == replay.transitions
        for one, other in zip(replay.episodes, restored.episodes, strict=True):
            assert same(one, other)
    restored.load_state_dict(Replay(5, 5).state_dict())
    assert (restored.episodes, restored.transitions) == ([], 0)


def test_a_loader_draws_when_it_is_asked_and_goes_on_from_its_state():
    drawn: list[int] = []

    def draw(number: int) -> int:
        drawn.append(number)
        return number

    loader = LazyLoader(3, draw)
    batches = iter(loader)
    assert next(batches) == 0
    assert drawn == [0]
    assert [*batches, *loader] == [1, 2, 3, 4, 5]
    assert len(loader) == 3
    resumed = LazyLoader(3, draw)
    resumed.load_state_dict(loader.state_dict())
    assert list(resumed) == [6, 7, 8]


def maze(length: int, **settings) -> Environment:
    return Environment("TMaze-v0", exploration=EXPLORATION, settings={"length": length, **settings})


def knows_the_way(inputs, state=None):
    """Remembers the first cue, goes right and turns as it said."""
    state = inputs[:, 0, 5:7].argmax(1) if state is None else state
    junction = inputs[:, -1, 8] == 1
    return torch.where(junction, torch.tensor([UP, DOWN])[state], RIGHT), state


@pytest.mark.parametrize("reward", ["outcome", "intention"])
@pytest.mark.parametrize("stochasticity", [0.0, 0.4])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, None])
def test_an_episode_tells_what_the_maze_did(epsilon, stochasticity, reward):
    settings = {"length": 3, "stochasticity": stochasticity, "reward": reward}
    policy = (None,) if epsilon is None else (knows_the_way, epsilon)
    episodes = maze(**settings).play(range(60), *policy)
    assert {single.terminated for single in episodes} >= ({True, False} if epsilon is None else {True})
    env = TMazeEnv(**settings)
    for seed, single in enumerate(episodes):
        observation, _ = env.reset(seed=seed)
        assert single.inputs[0].tolist() == [0, 0, 0, 0, 0, *observation]
        for t, action in enumerate(single.actions.tolist()):
            observation, reward, terminated, truncated, _ = env.step(action)
            assert single.rewards[t] == np.float32(reward)
            assert single.inputs[t + 1].tolist() == [*np.eye(4)[action], np.float32(reward), *observation]
            assert (terminated or truncated) == (t == len(single.actions) - 1)
        assert single.terminated == terminated


@pytest.mark.parametrize("policy", [(), (knows_the_way, 0.3)])
def test_an_episode_is_the_same_alone_and_beside_others(policy):
    environment = maze(5)
    episodes = environment.play(range(20), *policy)
    for number, beside in enumerate(episodes):
        (alone,) = environment.play([number], *policy)
        assert same(alone, beside)


def test_a_policy_sees_every_input_once_and_is_asked_only_where_it_decides():
    asked: list[torch.Tensor] = []

    def policy(inputs, state):
        asked.append(inputs.clone())
        return knows_the_way(inputs, state)

    (single,) = maze(30).play([0], policy, epsilon=0.5)
    seen = torch.cat(asked, dim=1)[0]
    assert torch.equal(seen, single.inputs[: len(seen)])
    assert 1 < len(asked) < 0.7 * len(single.actions)
    count = len(asked)
    maze(30).play([0], policy, epsilon=1.0)
    assert len(asked) == count


def test_exploration_drifts_to_the_right():
    actions = torch.cat([single.actions for single in maze(10).play(range(400))])
    shares = torch.bincount(actions, minlength=4) / len(actions)
    assert shares == pytest.approx(EXPLORATION, abs=0.02)


SMALL = {"length": 3, "capacity": 100, "batch_size": 8, "gradient_steps": 2, "episodes_per_epoch": 3}


def ready(**settings) -> Any:
    data = benchmark("tmaze", **(SMALL | settings))
    data.setup("fit")
    return data


def test_exploration_fills_the_buffer_before_a_fit_and_only_once():
    data = ready(length=10, capacity=2000)
    assert 2000 - data.environment.horizon < data.replay.transitions <= 2000
    assert data.episodes_played == 0
    before = list(data.replay.episodes)
    data.collect(knows_the_way, 0.0)
    assert data.replay.episodes[-1].rewards.sum() == 4
    data.setup("fit")
    assert len(data.replay.episodes) in range(len(before) - 3, len(before) + 2)
    assert data.episodes_played == 1
    one, other = ready(seed=1), ready(seed=1)
    assert all(map(same, one.replay.episodes, other.replay.episodes))
    assert not all(map(same, one.replay.episodes, ready(seed=2).replay.episodes))


@pytest.mark.parametrize("samples", ["episodes", "prefixes"])
def test_batches_are_a_function_of_seed_number_and_buffer(samples):
    first, again = (list(ready(samples=samples).train_dataloader()) for _ in range(2))
    assert len(first) == 6
    for one, other in zip(first, again, strict=True):
        assert all(map(torch.equal, one, other))
    assert not torch.equal(first[0][0], first[1][0])
    learnt = (first[0][4] > 0).sum(1)
    assert len(learnt) == 8
    assert (learnt == 1).all() if samples == "prefixes" else (learnt > 1).all()


def test_a_batch_knows_the_episode_played_before_it_is_asked_for():
    data = ready(length=2, capacity=5)  # one or two episodes
    batches = iter(data.train_dataloader())
    next(batches)
    data.collect(knows_the_way, 0.0)
    newest = data.replay.episodes[-1]
    assert any(torch.equal(row[:4], newest.inputs) for row in next(batches)[0])


def test_the_warmup_gets_histories_of_the_exploration_without_end():
    data = ready(length=5, capacity=400)
    batches = list(islice(data.warmup_dataloader(16), 50))
    assert len({sequences.sum().item() for sequences, _ in batches}) > 40
    known = {tuple(row) for single in data.replay.episodes for row in single.inputs[:1].tolist()}
    for sequences, steps in batches:
        assert sequences.shape == (16, steps.max(), 9)
        assert all(tuple(row) in known for row in sequences[:, 0].tolist())
    for _ in range(30):
        data.collect(knows_the_way, 0.0)
    for before, after in zip(batches, data.warmup_dataloader(16), strict=False):
        assert torch.equal(before[0], after[0])


def test_the_test_histories_do_not_change_with_the_seed():
    (one,), (other,) = (list(benchmark("tmaze", **SMALL, seed=seed).test_dataloader()[0]) for seed in (0, 1))
    assert one[0].shape == (64, one[1].max(), 9)
    assert torch.equal(one[0], other[0])
    assert all(map(torch.equal, benchmark("tmaze", **SMALL).first_test_batch(64), one))
    vals = [next(iter(benchmark("tmaze", **SMALL, seed=seed).val_dataloader()))[0].sum() for seed in (0, 1)]
    assert vals[0] != vals[1]


def test_processes_share_the_batches():
    def shares(rank: int) -> tuple:
        data = ready()
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank)
        return next(iter(data.train_dataloader())), next(data.warmup_dataloader(8))

    whole = next(iter(ready().train_dataloader())), next(ready().warmup_dataloader(8))
    for kind in (0, 1):
        ranks = [shares(rank)[kind][0] for rank in (0, 1)]
        assert [len(inputs) for inputs in ranks] == [4, 4]
        for row, inputs in enumerate(whole[kind][0]):
            share = ranks[row // 4][row % 4]
            assert torch.equal(inputs[: len(share)], share)
    data = ready()
    data.trainer = SimpleNamespace(world_size=3, global_rank=0)
    with pytest.raises(ValueError, match=r"batch_size=8: .* divisible by the number of processes \(3\)"):
        data.train_dataloader()


def turns_up(inputs, state):
    return torch.where(inputs[:, -1, 8] == 1, UP, RIGHT), state


def bumps_first(inputs, state):
    """The way, after a step to the left that cannot be taken."""
    actions, memory = knows_the_way(inputs, None if state is None else state[0])
    return (torch.full_like(actions, LEFT) if state is None else actions), (memory,)


@pytest.mark.parametrize("length", [None, 7])
def test_a_policy_is_judged_on_both_goals(length):
    data, L = benchmark("tmaze", length=4), length or 4
    assert data.evaluate(knows_the_way, 0.5, length=length) == {
        "return": 4.0,
        "discounted_return": 4.0 * 0.5**L,
        "optimal": 1.0,
    }
    figures = data.evaluate(turns_up, 0.5, length=length)
    assert figures == pytest.approx({"return": 1.95, "discounted_return": 1.95 * 0.5**L, "optimal": 0.0})
    figures = data.evaluate(bumps_first, 0.5, length=length)
    assert figures == pytest.approx(
        {"return": 3.9, "discounted_return": 4 * 0.5 ** (L + 1) - 0.1, "optimal": 0.0}
    )
    stuck = data.evaluate(lambda inputs, state: (torch.full((len(inputs),), LEFT), state), 1.0, length=length)
    assert stuck["return"] == pytest.approx(-0.1 * (3 * L - 1))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_episodes_are_evaluated_as_are_asked_for(count):
    data = benchmark("tmaze", length=4, stochasticity=0.5, evaluation_episodes=count)
    played = []

    def policy(inputs, state):
        played.append(len(inputs))
        return knows_the_way(inputs, state)

    assert data.evaluate(policy, 1.0)["optimal"] == 1
    assert played[0] == count


def test_a_stochastic_maze_is_judged_on_the_same_fifty_episodes_every_time():
    data = benchmark("tmaze", length=4, stochasticity=0.5)
    figures = data.evaluate(knows_the_way, 1.0)
    assert figures == benchmark("tmaze", length=4, stochasticity=0.5, seed=3).evaluate(knows_the_way, 1.0)
    assert figures["optimal"] == 1  # of its own actions every one was the best
    assert 2 < figures["return"] < 4
    assert data.evaluate(bumps_first, 1.0)["optimal"] == 0


def test_the_state_of_the_data_decides_what_is_played_next():
    data, restored = ready(), benchmark("tmaze", **SMALL)
    for _ in range(3):
        data.collect(knows_the_way, 0.5)
    restored.load_state_dict(data.state_dict())
    for _ in range(3):
        data.collect(knows_the_way, 0.5)
        restored.collect(knows_the_way, 0.5)
    assert all(map(same, data.replay.episodes, restored.replay.episodes))
    assert data.episodes_played == restored.episodes_played == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 1}, "length=1: must be whole number >= 2"),
        ({"stochasticity": 1.0}, "stochasticity=1.0: must be number >= 0 and < 1"),
        ({"length": 20, "capacity": 58}, "capacity=58: must be >= 59, the steps of the longest episode"),
        ({"samples": "steps"}, "samples='steps': must be one of episodes, prefixes"),
        ({"gradient_steps": 0}, "gradient_steps=0: must be whole number >= 1"),
        ({"test_multiples": [2, 0]}, "test_multiples=0: must be list of: whole number >= 1"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        benchmark("tmaze", **settings)


@pytest.mark.parametrize(("length", "stochasticity"), [(2, 0.0), (20, 0.0), (20, 0.2), (7, 0.9), (3, 1 / 3)])
def test_the_schema_knows_the_longest_episode(length, stochasticity):
    longest = TMazeEnv(length, stochasticity).horizon
    Settings(length=length, stochasticity=stochasticity, capacity=longest)
    with pytest.raises(ValueError, match=f"data.capacity={longest - 1}.* {longest}"):
        Settings(length=length, stochasticity=stochasticity, capacity=longest - 1)
