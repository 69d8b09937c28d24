"""A latch built by hand, and languages that it is right for."""

from __future__ import annotations

from itertools import pairwise

import torch

from lightning_warmup.engine.gates import gate_weights
from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.proofs import Automaton

SET, RESET, HOLD = torch.eye(3)


def language() -> Automaton:
    """Set and reset write a bit, hold keeps it; a string must not begin with hold."""
    moves = {("start", "set"): "one", ("start", "reset"): "zero"}
    for state in ("one", "zero"):
        moves |= {(state, "set"): "one", (state, "reset"): "zero", (state, "hold"): state}
    symbols = {"set": SET, "reset": RESET, "hold": HOLD}
    return Automaton(["start", "one", "zero"], symbols, moves, {"one": 0, "zero": 1})


def waiting(questions: int = 1) -> Automaton:
    """A bit, any number of steps to hold it, and questions, the last of which is answered and ends the string."""
    symbols = {"set": SET, "reset": RESET, "hold": HOLD, "ask": HOLD / 2}
    moves, states, answers = {("start", "set"): "one", ("start", "reset"): "zero"}, ["start"], {}
    for answer, state in enumerate(("one", "zero")):
        path = [state, *(f"{state} asked {number}" for number in range(1, questions + 1))]
        moves |= {(state, "hold"): state}
        moves |= {(before, "ask"): after for before, after in pairwise(path)}
        states += path
        answers[path[-1]] = answer
    return Automaton(states, symbols, moves, answers)


def reader(cell: str) -> RecurrentNetwork:
    """A network of one unit whose sign is its answer; all other weights are 0."""
    network = RecurrentNetwork(3, 1, 2, cell=cell)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.readout.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    return network


def latch(feedback: float = 4.0, hold: float = 2.0) -> RecurrentNetwork:
    """A GRU of one unit, which holds its sign if ``feedback`` is above 1.

    Args:
        feedback: Slope of the candidate with the state.
        hold: Logit of the share of itself that it keeps in a step of holding.
    """
    network = reader("gru")
    with torch.no_grad():
        weights = gate_weights(network.layers[0])
        weights["r"].bias_ih.fill_(8.0)
        weights["z"].weight_ih.copy_(torch.tensor([[-8.0, -8.0, hold]]))
        weights["n"].weight_ih.copy_(torch.tensor([[9.0, -9.0, 0.0]]))
        weights["m"].weight_hh.fill_(feedback)
    return network


def counter() -> RecurrentNetwork:
    """An LSTM of one unit whose cell goes further from zero with every hold, for thousands of them."""
    network = reader("lstm")
    with torch.no_grad():
        weights = gate_weights(network.layers[0])
        weights["f"].weight_ih.copy_(torch.tensor([[-8.0, -8.0, 8.0]]))
        weights["g"].weight_ih.copy_(torch.tensor([[9.0, -9.0, 0.0]]))
        weights["g"].weight_hh.fill_(4.0)
        weights["o"].bias_ih.fill_(8.0)
    return network
