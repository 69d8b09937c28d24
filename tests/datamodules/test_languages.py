"""The automata of the benchmarks say what the benchmarks themselves ask for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benchmark import benchmark
from torch import Tensor

from datamodules.repeat_first import SUITS
from datamodules.tmaze_env import RIGHT, UP
from lightning_warmup.proofs import Automaton


def string_of(automaton: Automaton, inputs: Tensor) -> list[str]:
    """Return the symbols of inputs (T, I), each of which is one of the next that may follow."""
    state, string = automaton.states[0], list[str]()
    for x in inputs.double():
        fits = ((automaton.lower <= x) & (x <= automaton.upper)).all(1).tolist()
        named = [name for name, fit in zip(automaton.symbols, fits, strict=True) if fit]
        (symbol,) = (name for name in named if (state, name) in automaton.transitions)
        state = automaton.transitions[state, symbol]
        string.append(symbol)
    return string


def answers(automaton: Automaton, inputs: Tensor) -> list[int]:
    path = automaton.run(string_of(automaton, inputs))
    return [automaton.answers.get(state, -1) for state in path]


def test_flip_flop_asks_for_the_bits_that_its_automaton_names() -> None:
    data = benchmark("flip_flop", seq_length=40, test_size=50)
    for sequences, targets, steps in data.test_dataloader()[0]:
        for inputs, bits, read_at in zip(sequences, targets, steps, strict=True):
            expected = torch.full((40,), -1)
            expected[read_at[read_at >= 0]] = bits[read_at >= 0]
            assert answers(data.automaton(), inputs) == expected.tolist()


def walk(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Go right, and turn up at the junction."""
    return torch.where(inputs[:, -1, -1] == 1, UP, RIGHT), None


@pytest.mark.parametrize("reward", ["outcome", "intention"])
@pytest.mark.parametrize("stochasticity", [0.0, 0.4])
def test_an_agent_that_plays_well_reads_strings_of_the_language(stochasticity: float, reward: str) -> None:
    data = benchmark("tmaze", length=4, stochasticity=stochasticity, reward=reward)
    seen = set()
    for episode in data.environment.play(range(40), walk):
        string = string_of(data.automaton(), episode.inputs[: len(episode.actions)])
        best = [data.automaton().answers[state] for state in data.automaton().run(string)]
        assert best[:-1] == episode.actions[:-1].tolist()
        assert (best[-1] == episode.actions[-1]) == (float(episode.rewards[-1]) == 4)
        seen |= set(string)
    assert seen == set(data.automaton().symbols)


def hold(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Name the suit of the first card."""
    first = inputs[:, 0, -SUITS:].argmax(1) if state is None else state
    return first, first


@pytest.mark.parametrize("size", ["Easy", "Medium"])
def test_best_play_of_repeat_first_reads_strings_of_the_language_and_is_rewarded(size: str) -> None:
    pytest.importorskip("popgym")
    data = benchmark("gym", env_id=f"popgym:popgym-RepeatFirst{size}-v0")
    for episode in data.environment.play(range(8), hold):
        best = answers(data.automaton(), episode.inputs[: len(episode.actions)])
        assert best == episode.actions.tolist()
        assert bool((episode.rewards > 0).all())


def test_an_environment_without_a_known_language_has_none() -> None:
    assert benchmark("gym", env_id="CartPole-v1").automaton() is None
