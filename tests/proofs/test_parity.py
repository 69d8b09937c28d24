from __future__ import annotations

import torch

from lightning_warmup.engine.gates import gate_weights
from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.proofs import Automaton, certify


def parity() -> Automaton:
    bits = {"0": torch.tensor([1.0, 0.0]), "1": torch.tensor([0.0, 1.0])}
    moves = {("even", "0"): "even", ("even", "1"): "odd", ("odd", "0"): "odd", ("odd", "1"): "even"}
    return Automaton(["even", "odd"], bits, moves, {"even": 0, "odd": 1})


def counts(slope: float = 4.0) -> RecurrentNetwork:
    """Return a GRU of two units: both are -1 where the string is odd, else its last bit says which one is 1."""
    network = RecurrentNetwork(2, 2, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        weights = gate_weights(network.layers[0])
        weights["r"].bias_ih.fill_(20.0)
        weights["z"].bias_ih.fill_(-20.0)
        weights["m"].weight_hh.copy_(slope * torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
        weights["n"].weight_ih.copy_(slope * torch.tensor([[1.0, -1.0], [-3.0, -1.0]]))
        network.readout.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
        network.readout.bias.copy_(torch.tensor([1.0, -1.0]))
    return network


def test_parity_is_proven_where_states_are_told_apart_by_the_last_symbol() -> None:
    found = certify(counts(), parity().by_last_symbol())
    assert found.proven, found.condition
    assert found.from_length == 1


def test_one_box_for_even_is_none_for_a_single_layer() -> None:
    found = certify(counts(), parity())
    assert not found.proven
    assert found.counterexample is None
