"""Random strings of a language, to teach a network by."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_warmup.proofs.automata import Automaton


class Strings(NamedTuple):
    """Strings of one length.

    Attributes:
        inputs: Their inputs, ``(T, N, I)``.
        states: States of the automaton after each symbol, ``(T, N)``.
    """

    inputs: Tensor
    states: Tensor


def draw(automaton: Automaton, count: int, longest: int, seed: int) -> Iterator[Strings]:
    """Yield ``count`` strings at a time, for ever: of ``longest`` symbols and of fewer by turns.

    Each string prefers symbols of its own, so that some hold one for long and others change often; its last symbol
    is any that may follow. What may be one of many inputs is drawn uniformly.
    """
    random, endless = Random(seed), set(automaton.endless)
    generator = torch.Generator().manual_seed(seed)
    options: dict[int, list[tuple[int, int]]] = {}
    for state, symbol, target in automaton.edges.tolist():
        options.setdefault(state, []).append((symbol, target))
    on = {s: [o for o in found if o[1] in endless] for s, found in options.items()}
    while True:
        for length in (longest, random.randint(1, longest)):
            symbols, states = [], []
            for _ in range(count):
                liking = [random.expovariate(1.0) ** 4 + 1e-9 for _ in automaton.symbols]
                path = [(-1, 0)]
                for _ in range(length - 1):
                    weights = [liking[symbol] for symbol, _ in on[path[-1][1]]]
                    path += random.choices(on[path[-1][1]], weights)
                path.append(random.choice(options[path[-1][1]]))
                symbols.append([symbol for symbol, _ in path[1:]])
                states.append([state for _, state in path[1:]])
            which = torch.tensor(symbols).t()
            share = torch.rand(
                *which.shape, automaton.lower.shape[1], generator=generator, dtype=torch.float64
            )
            inputs = automaton.lower[which].lerp(automaton.upper[which], share)
            yield Strings(inputs, torch.tensor(states).t())
