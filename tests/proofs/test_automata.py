from __future__ import annotations

from typing import Any

import pytest
import torch
from latch import language

from lightning_warmup.proofs import Automaton


def test_states_are_told_apart() -> None:
    symbols = {"go": torch.tensor([1.0]), "end": torch.tensor([0.0])}
    moves = {
        ("start", "go"): "a", ("a", "go"): "b", ("b", "go"): "a", ("b", "end"): "c", ("c", "go"): "d",
    }  # fmt: skip
    automaton = Automaton(["start", "a", "b", "c", "d"], symbols, moves, {"d": 0})
    assert automaton.recurrent == [1, 2]
    assert automaton.endless == [0, 1, 2]
    assert [automaton.longest(state) for state in (3, 4)] == [1, 0]
    assert automaton.run(["go", "go", "end", "go"]) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="string: 'end' must not follow in the state 'start'"):
        automaton.run(["end"])


def test_arrays_hold_all_there_is_to_it() -> None:
    one, other = language(), Automaton.from_arrays(language().to_arrays())
    assert (one.states, one.transitions, one.answers) == (other.states, other.transitions, other.answers)
    assert bool((one.lower == other.lower).all() and (one.upper == other.upper).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": []}, r"states=\[\]: must be one or more different names"),
        ({"states": ["a", "a"]}, "must be one or more different names"),
        ({"transitions": {("a", "y"): "a"}}, "transitions: 'y' is unknown, choose one of x"),
        ({"transitions": {("a", "x"): "c"}}, "transitions: 'c' is unknown, choose one of a, b"),
        ({"transitions": {("b", "x"): "a"}}, "transitions: must lead on from the start, 'a'"),
        ({"answers": {"c": 0}}, "answers: 'c' is unknown, choose one of a, b"),
        ({"answers": {"b": -1}}, r"answers\['b'\]=-1: must be at least 0"),
        ({"symbols": {"x": torch.zeros(2, 1)}}, r"symbols: have inputs of shapes \[\(2, 1\)\]"),
        (
            {"symbols": {"x": (torch.ones(1), torch.zeros(1))}},
            r"symbols\['x'\]: its lower end must not be above",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(change: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "states": ["a", "b"],
        "symbols": {"x": torch.zeros(1)},
        "transitions": {("a", "x"): "b"},
        "answers": {"b": 0},
    }
    Automaton(**right)
    with pytest.raises(ValueError, match=message):
        Automaton(**(right | change))


def test_states_are_told_apart_by_the_last_symbol() -> None:
    automaton, split = language(), language().by_last_symbol()
    assert split.states[0] == "start before any"
    assert len(split.states) == 1 + 2 + 2  # set or hold lead to "one", reset or hold to "zero"
    string = ["set", "hold", "reset", "hold", "hold", "set"]
    plain, told = automaton.run(string), split.run(string)
    assert told == [f"{state} {symbol}" for state, symbol in zip(plain, string, strict=True)]
    assert [automaton.answers[state] for state in plain] == [split.answers[state] for state in told]
    assert automaton.strings(5) == split.strings(5) == 2 * 3**4
    with pytest.raises(ValueError, match="must not follow"):
        split.run(["hold"])
