"""Finite automata: which strings a language has, and which answer is right after each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

Symbol: TypeAlias = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Automaton:
    """A task on strings of any length: the state that a string leads to says which answer is right after it.

    Attributes:
        states: Names of the states; the first one is the start, before any symbol.
        symbols: The input of each symbol by its name, ``(I,)``, or a pair: the ends of all inputs it may be.
        transitions: The next state for a state and a symbol; what is absent is not in the language.
        answers: The output that has to be the greatest after a string that leads to a state; others ask for
            nothing.

    Raises:
        ValueError: If a name is unknown, an input has another size than the others, or nothing leads
            from the start.

    Examples:
        >>> bits = {"0": torch.tensor([0.0]), "1": torch.tensor([1.0])}
        >>> moves = {("even", "0"): "even", ("even", "1"): "odd", ("odd", "0"): "odd", ("odd", "1"): "even"}
        >>> parity = Automaton(["even", "odd"], bits, moves, {"even": 0, "odd": 1})
        >>> parity.recurrent
        [0, 1]
    """

    states: Sequence[str]
    symbols: Mapping[str, Symbol]
    transitions: Mapping[tuple[str, str], str]
    answers: Mapping[str, int]
    # Derived: the transitions as numbers (E, 3) of state, symbol and next state; the symbols' ends, (A, I).
    edges: Tensor = field(init=False, repr=False, compare=False)
    lower: Tensor = field(init=False, repr=False, compare=False)
    upper: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        states, symbols = list(self.states), list(self.symbols)
        if not states or len(set(states)) < len(states):
            raise ValueError(f"states={states}: must be one or more different names")
        for (state, symbol), target in self.transitions.items():
            for name, known in ((state, states), (symbol, symbols), (target, states)):
                if name not in known:
                    raise ValueError(f"transitions: {name!r} is unknown, choose one of {', '.join(known)}")
        for state, answer in self.answers.items():
            if state not in states:
                raise ValueError(f"answers: {state!r} is unknown, choose one of {', '.join(states)}")
            if answer < 0:
                raise ValueError(f"answers[{state!r}]={answer}: must be at least 0")
        if not any(state == states[0] for state, _ in self.transitions):
            raise ValueError(f"transitions: must lead on from the start, {states[0]!r}")
        pairs = [s if isinstance(s, tuple) else (s, s) for s in self.symbols.values()]
        shapes = {tuple(end.shape) for pair in pairs for end in pair}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"symbols: have inputs of shapes {sorted(shapes)}, must be one shape (I,)")
        lower, upper = (torch.stack([pair[i].double() for pair in pairs]) for i in (0, 1))
        wrong = (lower > upper).any(1).nonzero().flatten().tolist()
        if wrong:
            raise ValueError(f"symbols[{symbols[wrong[0]]!r}]: its lower end must not be above the upper one")
        numbers = [
            (states.index(state), symbols.index(symbol), states.index(target))
            for (state, symbol), target in self.transitions.items()
        ]
        for name, value in (("edges", torch.tensor(numbers)), ("lower", lower), ("upper", upper)):
            object.__setattr__(self, name, value)

    @property
    def recurrent(self) -> list[int]:
        """Numbers of the states that strings can come back to."""
        return [state for state in range(len(self.states)) if state in self._reachable(state)]

    @property
    def endless(self) -> list[int]:
        """Numbers of the states from which strings go on for ever."""
        again = set(self.recurrent)
        return [s for s in range(len(self.states)) if again & (self._reachable(s) | {s})]

    @property
    def answer_of(self) -> Tensor:
        """The right answer in each state ``(S,)``, -1 where nothing is asked for."""
        return torch.tensor([self.answers.get(state, -1) for state in self.states])

    def strings(self, length: int) -> int:
        """Return how many strings of a length can go on for ever."""
        counts, endless = {0: 1}, set(self.endless)
        edges = [(source, target) for source, _, target in self.edges.tolist() if target in endless]
        for _ in range(length):
            new: dict[int, int] = {}
            for source, target in edges:
                if source in counts:
                    new[target] = new.get(target, 0) + counts[source]
            counts = new
        return sum(counts.values())

    def longest(self, state: int) -> int:
        """Return how many symbols can follow a state that is not ``endless``."""
        targets = [target for source, _, target in self.edges.tolist() if source == state]
        return max((1 + self.longest(target) for target in targets), default=0)

    def run(self, string: Sequence[str]) -> list[str]:
        """Return the states that a string leads through.

        Raises:
            ValueError: If it is no string of the language.
        """
        state, path = self.states[0], []
        for symbol in string:
            if (state, symbol) not in self.transitions:
                raise ValueError(f"string: {symbol!r} must not follow in the state {state!r}")
            state = self.transitions[state, symbol]
            path.append(state)
        return path

    def by_last_symbol(self) -> Automaton:
        """Return the same language with a state for each state and symbol that led to it, such as "odd 1".

        A network of one layer may reach the same state in different places, by the symbol that it has just heard.
        Then one box for all of them would reach over others; a box for each does not.
        """
        old = self.states[0]
        start, reached = f"{old} before any", sorted({(t, a) for (_, a), t in self.transitions.items()})
        moves = {(start, a): f"{t} {a}" for (s, a), t in self.transitions.items() if s == old}
        for state, last in reached:
            moves |= {
                (f"{state} {last}", a): f"{t} {a}" for (s, a), t in self.transitions.items() if s == state
            }
        answers = {f"{s} {a}": self.answers[s] for s, a in reached if s in self.answers}
        if old in self.answers:
            answers[start] = self.answers[old]
        return Automaton([start, *(f"{s} {a}" for s, a in reached)], self.symbols, moves, answers)

    def to_arrays(self) -> dict[str, Any]:
        """Return all there is to it as arrays, from which :meth:`from_arrays` makes it again."""
        return {
            "names": list(self.states),
            "symbols": list(self.symbols),
            "symbol_lower": self.lower.numpy(),
            "symbol_upper": self.upper.numpy(),
            "transitions": self.edges.numpy(),
            "answers": self.answer_of.numpy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Automaton:
        states, symbols = [[str(name) for name in arrays[key]] for key in ("names", "symbols")]
        ends = zip(arrays["symbol_lower"], arrays["symbol_upper"], strict=True)
        inputs = [(torch.as_tensor(lower), torch.as_tensor(upper)) for lower, upper in ends]
        return cls(
            states,
            dict(zip(symbols, inputs, strict=True)),
            {(states[s], symbols[a]): states[t] for s, a, t in arrays["transitions"].tolist()},
            {states[i]: int(answer) for i, answer in enumerate(arrays["answers"]) if answer >= 0},
        )

    def _reachable(self, state: int) -> set[int]:
        """Return the states that one or more symbols lead to."""
        found: set[int] = set()
        new = {state}
        while new:
            new = {t for s, _, t in self.edges.tolist() if s in new} - found
            found |= new
        return found
