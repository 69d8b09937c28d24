"""Whether boxes of states, one for each state of an automaton, are a proof; nothing is searched for here.

**Theorem.** Let a network, in real arithmetic, take a state h and an input x to f(h, x). Let every state s of an
automaton have a box B_s, which may be empty, such that

1. for every transition from s by a symbol a to t, and every input x of a: f(B_s, x) lies in B_t, also if all
   units are moved by up to d each before the next layer and the next step see them,
2. on B_s the right answer of s leads over all others,
3. after every string of K symbols the network's state lies in the box of the automaton's state, K = ``entered``.

Then after every string of K symbols or more, of any length, the network answers right, also if all units are so
moved in each of its steps beyond K.

**Proof.** By induction over the length. After K symbols the state is in its box by (3). Let it be in B_s, and let a
symbol a, with an input x, follow that leads to t. By (1) the next state is in B_t however it is moved by up to d.
By (2) the answer is right wherever it is in there. So it is after every further symbol. (3) is a statement about
finitely many strings; they are followed in interval arithmetic, one by one or, where they are many, in bounds on
all that lead to the same state. Their answers are looked at on the way: a wrong one costs the strings of its
length, and all longer ones that begin with it. Nothing is moved in these first K steps; to prove a network whose
states are rounded in every step, let f be the rounded step, as of a :class:`Machine` with a ``precision``.

With an automaton that waits, the theorem says that a policy is optimal at all horizons in the sense of "Temporal
horizon generalization" (Bakija et al. 2026, arXiv 2605.12206); boxes apart, each of which waiting maps into itself,
are the multistability that this paper shows to be necessary.

(1) and (2) are verified by interval arithmetic, see :mod:`lightning_warmup.proofs.intervals`, which bounds every
rounding. Where units are convex combinations, (1 - z) n + z h, and a transition leads from s back to s, it is
enough for d = 0 that the candidates n stay in the box: the combination does, whatever z is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.intervals import Interval, widened
from lightning_warmup.proofs.machine import Machine

STRINGS, SYMBOLS = 1024, 2000
"""Most strings that are followed one by one before they enter boxes, and for how many symbols."""


class Boxes(NamedTuple):
    """A box for each state of an automaton, ``(S, U)``; an empty one has ends of inf and -inf."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def around(cls, states: Tensor, values: Interval, count: int) -> Boxes:
        """Return for each of ``count`` states the hull of the values ``(N, U)`` in it, states being ``(N,)``."""
        shape, index = (count, values.shape[1]), states[:, None].expand(values.shape)
        lower = values.lower.new_full(shape, torch.inf).scatter_reduce(0, index, values.lower, "amin")
        upper = values.upper.new_full(shape, -torch.inf).scatter_reduce(0, index, values.upper, "amax")
        return cls(lower, upper)

    @property
    def live(self) -> Tensor:
        """Which boxes are not empty, ``(S,)``."""
        return (self.lower <= self.upper).all(1)

    def of(self, states: Tensor) -> Interval:
        """Return the boxes of states by their numbers ``(N,)``."""
        return Interval(self.lower[states], self.upper[states])


class Moved(NamedTuple):
    """By how much every unit, and every entry of an input, may be moved in each step."""

    units: float = 0.0
    inputs: float = 0.0


STILL = Moved()


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        condition: The first condition that is not met, in words; None is a proof.
        from_length: Least number of symbols from which on every string is answered right, at every step; None
            without a proof.
        entered: Symbols after which every string's state is in its box; None if there are some whose is not.
    """

    condition: str | None
    from_length: int | None = None
    entered: int | None = None


@torch.no_grad()
def check(machine: Machine, automaton: Automaton, boxes: Boxes, moved: Sequence[Moved] = (STILL,)) -> Finding:
    """Return whether boxes are a proof that a network is right for every string of an automaton.

    Args:
        machine: The network.
        automaton: The language and its answers.
        boxes: The boxes.
        moved: What units and inputs may be moved by, one after another.
    """
    condition = next((c for each in moved if (c := leaves(machine, automaton, boxes, each))), None)
    condition = condition or misleads(machine, automaton, boxes)
    if condition is not None:
        return Finding(condition)
    return follow(machine, automaton, boxes)


def live_edges(automaton: Automaton, boxes: Boxes) -> Tensor:
    """Return the transitions, ``(E, 3)``, that lead from boxes that are not empty."""
    return automaton.edges[boxes.live[automaton.edges[:, 0]]]


def images(
    machine: Machine, automaton: Automaton, before: Interval, symbols: Tensor, moved: Moved = STILL
) -> Interval:
    """Return bounds on the states after one symbol each, ``(N, U)``."""
    inputs = Interval(automaton.lower[symbols], automaton.upper[symbols])
    return machine.step(widened(inputs, moved.inputs), before, moved.units)


def leaves(machine: Machine, automaton: Automaton, boxes: Boxes, moved: Moved = STILL) -> str | None:
    """Return the transition that leads furthest out of its box, in words; None if all stay inside."""
    edges = live_edges(automaton, boxes)
    after, target = (
        images(machine, automaton, boxes.of(edges[:, 0]), edges[:, 1], moved),
        boxes.of(edges[:, 2]),
    )
    if bool(((target.lower <= after.lower) & (after.upper <= target.upper)).all()):
        return None
    excess = torch.maximum(target.lower - after.lower, after.upper - target.upper).nan_to_num(torch.inf)
    edge, unit = divmod(int(excess.argmax()), machine.units)
    state, symbol, new = edges[edge].tolist()
    states = automaton.states
    step = f"{states[state]} --{list(automaton.symbols)[symbol]}--> {states[new]}"
    return f"{step}: unit {unit} leaves the box by {float(excess[edge, unit]):.2g}"


def misleads(machine: Machine, automaton: Automaton, boxes: Boxes) -> str | None:
    """Return the state on whose box the right answer leads least, in words; None if it leads on all."""
    answers = automaton.answer_of
    asked = (boxes.live & (answers >= 0)).nonzero().flatten()
    if not len(asked):
        return None
    lead = machine.leads(boxes.of(asked), answers[asked]).lower.amin(1)
    if bool((lead > 0).all()):
        return None
    row = int(lead.nan_to_num(-torch.inf).argmin())
    state = automaton.states[int(asked[row])]
    answer = int(answers[asked[row]])
    return f"{state}: on its box the lead of the answer {answer} falls to {float(lead[row]):.2g}"


class Front(NamedTuple):
    """Strings that have not entered their boxes: automaton states ``(N,)`` and bounds on the network's."""

    states: Tensor
    values: Interval


@torch.no_grad()
def follow(machine: Machine, automaton: Automaton, boxes: Boxes) -> Finding:
    """Follow all strings from the start until they are in their boxes, which are a proof from there on.

    Where there are too many, those that lead to the same state are followed in bounds that hold all of them.
    """
    zero = torch.zeros(1, machine.units, dtype=torch.float64)
    front = Front(torch.tensor([0]), Interval(zero, zero))
    endless, from_length, symbols, many = automaton.endless, 1, 0, False
    front = _outside(front, automaton, boxes)
    while len(front.states):
        if symbols == SYMBOLS:
            name = automaton.states[int(front.states[0])]
            return Finding(f"{name}: after {symbols} symbols there are states that are not in its box")
        many = many or len(front.states) > STRINGS
        if many:
            front = merged(automaton, front)
        symbols += 1
        front = advance(machine, automaton, front)
        for state in front.states[_undecided(machine, automaton, front)].tolist():
            if state in endless:
                answer = automaton.answers[automaton.states[state]]
                return Finding(
                    f"{automaton.states[state]}: after {symbols} symbols the answer {answer} does not lead"
                )
            from_length = max(from_length, symbols + automaton.longest(state) + 1)
        front = _outside(front, automaton, boxes)
    return Finding(None, from_length, symbols)


def advance(machine: Machine, automaton: Automaton, front: Front) -> Front:
    """Let every symbol follow that may."""
    rows, edges = (front.states[:, None] == automaton.edges[None, :, 0]).nonzero(as_tuple=True)
    return Front(
        automaton.edges[edges, 2], images(machine, automaton, front.values[rows], automaton.edges[edges, 1])
    )


def merged(automaton: Automaton, front: Front) -> Front:
    """Return bounds on all strings that lead to the same state, together."""
    states = front.states.unique()
    return Front(states, Boxes.around(front.states, front.values, len(automaton.states)).of(states))


def _outside(front: Front, automaton: Automaton, boxes: Boxes) -> Front:
    """Return the strings that are not in their boxes and can go on."""
    box, values = boxes.of(front.states), front.values
    inside = (box.lower <= values.lower).all(1) & (values.upper <= box.upper).all(1)
    left = ~inside & torch.isin(front.states, automaton.edges[:, 0])
    return Front(front.states[left], values[left])


def _undecided(machine: Machine, automaton: Automaton, front: Front) -> Tensor:
    """Return which strings are not known to be answered right."""
    answers = automaton.answer_of[front.states]
    lost = torch.zeros(len(answers), dtype=torch.bool)
    asked = answers >= 0
    if asked.any():
        leads = machine.leads(front.values[asked], answers[asked]).lower
        lost[asked] = ~(leads > 0).all(1)
    return lost
