"""A second checker of proofs, by exact rationals; it shares nothing with the first one but the statement.

It knows networks of one GRU layer. Fractions are exact; exp alone has a remainder, that of its series.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import factorial
from typing import NamedTuple

from torch import nn

from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.proofs import Automaton
from lightning_warmup.proofs.check import Boxes

GRID = 2**96  # results are rounded outwards to multiples of its inverse, or fractions would grow without end


class Range(NamedTuple):
    low: Fraction
    high: Fraction

    def __add__(self, other: Range) -> Range:  # type: ignore[override]
        return Range(self.low + other.low, self.high + other.high)

    def times(self, other: Range) -> Range:
        ends = [a * b for a, b in product(self, other)]
        return rounded(min(ends), max(ends))

    def scaled(self, factor: Fraction) -> Range:
        return self.times(Range(factor, factor))


def rounded(low: Fraction, high: Fraction) -> Range:
    return Range(Fraction(low * GRID // 1, GRID), Fraction(-(-high * GRID // 1), GRID))


def exp(x: Fraction) -> Range:
    """Bounds on exp: its series at x / 2^k, |x / 2^k| <= 1 / 2, with the remainder, squared k times."""
    halvings = max(0, (abs(x.numerator) // x.denominator + 1).bit_length() + 1)
    y = x / 2**halvings
    terms = 24
    value = sum((y**n / factorial(n) for n in range(terms)), Fraction(0))
    rest = 2 * abs(y) ** terms / factorial(terms)  # a geometric series of ratio at most 1 / 2
    found = rounded(value - rest, value + rest)
    for _ in range(halvings):
        found = rounded(found.low**2, found.high**2)
    return found


def sigmoid(x: Range) -> Range:
    low, high = exp(-x.low), exp(-x.high)
    return rounded(1 / (1 + low.high), 1 / (1 + high.low))


def tanh(x: Range) -> Range:
    two = sigmoid(Range(2 * x.low, 2 * x.high))
    return Range(2 * two.low - 1, 2 * two.high - 1)


def row(weights: list[float], values: list[Range], bias: float) -> Range:
    total = Range(Fraction(bias), Fraction(bias))
    for weight, value in zip(weights, values, strict=True):
        total = total + value.scaled(Fraction(weight))
    return total


def step(cell: nn.Module, x: list[Range], h: list[Range]) -> list[Range]:
    """One step of a GRU with torch's weights."""
    w, u = cell.weight_ih_l0.tolist(), cell.weight_hh_l0.tolist()
    b, c = cell.bias_ih_l0.tolist(), cell.bias_hh_l0.tolist()
    size, new = len(h), []
    for i in range(size):
        r = sigmoid(row(w[i], x, b[i]) + row(u[i], h, c[i]))
        z = sigmoid(row(w[size + i], x, b[size + i]) + row(u[size + i], h, c[size + i]))
        m = row(u[2 * size + i], h, c[2 * size + i])
        n = tanh(row(w[2 * size + i], x, b[2 * size + i]) + r.times(m))
        new.append(
            Range(
                min((1 - share) * n.low + share * h[i].low for share in z),
                max((1 - share) * n.high + share * h[i].high for share in z),
            )
        )
    return new


def proves(network: RecurrentNetwork, automaton: Automaton, boxes: Boxes) -> bool:
    """Whether boxes prove a network right after every string, the first symbol leading into them."""
    states = list(automaton.states)
    box = {
        name: [Range(Fraction(low), Fraction(high)) for low, high in zip(lower, upper, strict=True)]
        for name, lower, upper in zip(states, boxes.lower.tolist(), boxes.upper.tolist(), strict=True)
        if all(low <= high for low, high in zip(lower, upper, strict=True))
    }
    zero = [Range(Fraction(0), Fraction(0))] * network.layers[0].hidden_size
    for (state, symbol), target in automaton.transitions.items():
        before = [box[state]] if state in box else []
        before += [zero] if state == states[0] else []
        x = [Range(Fraction(value), Fraction(value)) for value in automaton.symbols[symbol].tolist()]
        for each in before:
            after = step(network.layers[0], x, each)
            pairs = zip(after, box[target], strict=True)
            if not all(b.low <= a.low and a.high <= b.high for a, b in pairs):
                return False
    weight, bias = network.readout.weight.tolist(), network.readout.bias.tolist()
    for name, answer in automaton.answers.items():
        for other in set(range(len(weight))) - {answer}:
            pairs = zip(weight[answer], weight[other], strict=True)
            lead = Range(*[Fraction(bias[answer]) - Fraction(bias[other])] * 2)
            for (mine, its), value in zip(pairs, box[name], strict=True):
                lead = lead + value.scaled(Fraction(mine) - Fraction(its))
            if lead.low <= 0:
                return False
    return True
