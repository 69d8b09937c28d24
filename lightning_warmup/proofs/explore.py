"""Where the states of a network are met: many strings of a language, followed in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.check import Boxes
from lightning_warmup.proofs.intervals import Interval
from lightning_warmup.proofs.machine import Machine
from lightning_warmup.proofs.outputs import leads

STRINGS, SYMBOLS = 32, 320


@dataclass(frozen=True)
class Met:
    """States of a network that strings lead to.

    Attributes:
        states: Automaton states, ``(N,)``.
        values: States of the network, ``(N, U)``.
        ages: Symbols so far, ``(N,)``.
        counterexample: Shortest string met on which the network errs; None if there was none.
    """

    states: Tensor
    values: Tensor
    ages: Tensor
    counterexample: tuple[str, ...] | None

    def boxes(self, count: int, from_age: int, radius: float, recurrent: list[int]) -> Boxes:
        """Return for each of ``count`` states the hull of what was met from an age on, and a radius around it.

        States that strings do not come back to, or that were not met, get an empty one.
        """
        wanted = self.ages >= from_age
        values = self.values[wanted]
        lower, upper = Boxes.around(self.states[wanted], Interval(values - radius, values + radius), count)
        others = [state for state in range(count) if state not in recurrent]
        lower[others], upper[others] = torch.inf, -torch.inf
        return Boxes(lower, upper)


@torch.no_grad()
def explore(
    machine: Machine, automaton: Automaton, strings: int = STRINGS, symbols: int = SYMBOLS, seed: int = 0
) -> Met:
    """Follow random strings of a language; after every one of their symbols, all that may follow are tried.

    Each string prefers symbols of its own, so that some hold one for long and others change often. It goes on
    with symbols after which it can go on for ever.
    """
    generator = torch.Generator().manual_seed(seed)
    # Exponentials to the fourth power: most strings like one symbol far better than the others.
    liking = torch.empty(strings, len(automaton.symbols)).exponential_(generator=generator).pow(4).double()
    state = torch.zeros(strings, dtype=torch.long)
    value = torch.zeros(strings, machine.units, dtype=torch.float64)
    met, history = [(state, value, torch.zeros_like(state))], list[Tensor]()
    counterexample: tuple[str, ...] | None = None
    endless = torch.zeros(len(automaton.states), dtype=torch.bool)
    endless[automaton.endless] = True
    for age in range(1, symbols + 1):
        rows, edges = (state[:, None] == automaton.edges[None, :, 0]).nonzero(as_tuple=True)
        if not len(rows):
            break
        _, symbol, after = automaton.edges[edges].unbind(1)
        share = torch.rand(len(rows), automaton.lower.shape[1], generator=generator, dtype=torch.float64)
        inputs = automaton.lower[symbol].lerp(automaton.upper[symbol], share.round())
        values = machine.step(inputs, value[rows])
        met.append((after, values, torch.full_like(after, age)))
        if counterexample is None:
            wrong = errs(machine, automaton, after, values).nonzero().flatten().tolist()
            if wrong:
                path = [int(s[rows[wrong[0]]]) for s in history] + [int(symbol[wrong[0]])]
                counterexample = tuple(list(automaton.symbols)[number] for number in path)
        # Each string's choice, where it can go on for ever, by what it likes.
        weight = torch.where(endless[after], liking[rows, symbol], 0.0)
        chance = torch.zeros(strings, len(automaton.edges), dtype=torch.float64)
        chance[rows, edges] = weight
        if not bool((chance.sum(1) > 0).all()):
            break
        chosen = torch.multinomial(chance, 1, generator=generator).squeeze(1)
        place = torch.full_like(chance, -1, dtype=torch.long)
        place[rows, edges] = torch.arange(len(rows))
        picked = place[torch.arange(strings), chosen]
        history.append(symbol[picked])
        state, value = after[picked], values[picked]
    states, values, ages = (torch.cat(each) for each in zip(*met, strict=True))
    return Met(states, values, ages, counterexample)


def errs(machine: Machine, automaton: Automaton, states: Tensor, values: Tensor) -> Tensor:
    """Return where the right answer does not lead over all others, ``(N,)``."""
    answers = automaton.answer_of[states]
    return (answers >= 0) & ~(leads(machine.outputs(values), answers) > 0)
