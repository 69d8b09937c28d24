"""Trains a network to hold what it remembers, on strings longer than those of its training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_warmup.engine.state import map_state
from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.outputs import changed, leads, run
from lightning_warmup.proofs.strings import draw

LR = 1e-3
"""Learning rate of Adam."""
STEPS, STRINGS = 300, 16
"""Gradient steps, and strings of each."""
FARTHER, MOST = 7, 400
"""Symbols that strings have more in the second half of the steps, in lengths that the network is known to be right
on, and the most of them."""
MOVED = 0.5
"""By how much each unit is moved once, one way or the other; most states lie within 1 of zero."""
WANTED = 0.3
"""Least lead of an answer that is asked for: more than of a proof, which answers for all states of a box."""


def practise(
    network: nn.Module,
    readout: nn.Linear | None,
    teacher: tuple[nn.Module, nn.Linear | None],
    automaton: Automaton,
    longest: int,
    seed: int,
) -> None:
    """Train a network, in place, to be right on strings longer than ``longest``, from states that were moved.

    A unit that forgets slowly serves strings as long as those of the training, but no box can be drawn around it.
    Longer strings ask for units that hold. After some of its first ``longest`` symbols each string has all of its
    states moved. Until then outputs are to stay those of the teacher. The last answer counts as much as all others
    together: it is the one that a memory decides where a string ends, as in the T-Maze.
    """
    parameters = [*network.parameters(), *(() if readout is None else readout.parameters())]
    optimizer = torch.optim.Adam(parameters, lr=LR)
    generator = torch.Generator().manual_seed(seed)

    def moved(state: Tensor) -> Tensor:
        signs = 2 * torch.randint(2, state.shape, generator=generator) - 1
        return state + MOVED * signs.to(state)

    for step in range(STEPS):
        further = 1 + round(min(FARTHER * longest, MOST) * min(1.0, 2 * step / STEPS))
        inputs, states = next(draw(automaton, STRINGS, longest + further, seed + step))
        cut = int(torch.randint(1, longest + 1, (), generator=generator))
        with torch.no_grad():
            taught, _ = run(*teacher, inputs[:cut])
        with torch.enable_grad():
            first, state = run(network, readout, inputs[:cut])
            rest, _ = run(network, readout, inputs[cut:], map_state(moved, state))
            answers = automaton.answer_of[states]
            short = torch.relu(WANTED - leads(torch.cat([first, rest]), answers)) * (answers >= 0)
            loss = changed(first, taught, automaton, states[:cut]) + short.mean() + short[-1].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    optimizer.zero_grad()
