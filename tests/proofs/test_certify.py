from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latch import HOLD, RESET, SET, language, latch, waiting
from rationals import proves
from torch import nn

from lightning_warmup.engine.gates import gate_weights
from lightning_warmup.networks import RecurrentNetwork, SideMemory
from lightning_warmup.proofs import Automaton, Certificate, certify
from lightning_warmup.proofs.certify import check_again
from lightning_warmup.proofs.check import STRINGS, Boxes, check
from lightning_warmup.proofs.machine import Machine


@pytest.fixture(scope="module")
def proof() -> Certificate:
    return certify(latch(), language())


@torch.no_grad()
def replay(network: RecurrentNetwork, string: Sequence[str]) -> list[int]:
    """Return what a network answers, in float64, after each symbol of a string of ``waiting``."""
    machine, answers = Machine(network), []
    state = torch.zeros(1, machine.units, dtype=torch.float64)
    for name in string:
        state = machine.step(waiting().symbols[name][None].double(), state)
        answers.append(int(machine.outputs(state).argmax()))
    return answers


def test_a_latch_is_proven_for_every_string(proof: Certificate) -> None:
    assert proof.proven
    assert (proof.from_length, proof.entered, proof.arithmetic) == (1, 1, "real")
    assert proof.radius is not None
    assert proof.radius >= 0.1
    assert proof.disturbance > 1e-3
    assert proof.input_disturbance > 1e-3
    assert proof.condition is None
    assert proof.counterexample is None
    assert "boxes" not in proof.summary()


def test_a_second_checker_agrees(proof: Certificate) -> None:
    assert proof.boxes is not None
    assert proves(latch(), language(), proof.boxes)
    for weaker in (latch(feedback=0.9), latch(feedback=1.1)):
        assert not proves(weaker, language(), proof.boxes)
        assert check(Machine(weaker), language(), proof.boxes).condition is not None


def test_the_checkers_agree_on_random_boxes() -> None:
    """Some of which are a proof, most of which are not; each condition decides some of them."""
    machine, generator, seen = Machine(latch()), torch.Generator().manual_seed(0), []
    for _ in range(40):
        ends = torch.rand(2, 2, generator=generator, dtype=torch.float64).sort(0).values
        lower, upper = 1.1 * ends - 0.05
        one, zero = (lower[0] * 0.9, 0.9 + upper[0] / 9), (-0.9 - upper[1] / 9, -lower[1] * 0.9)
        empty = torch.tensor(torch.inf).double()
        rows = torch.stack([torch.stack(each) for each in ((empty, -empty), one, zero)])
        boxes = Boxes(rows[:, :1], rows[:, 1:])
        first = check(machine, language(), boxes)
        seen.append(first.condition is None and first.entered == 1)
        assert seen[-1] == proves(latch(), language(), boxes)
    assert {True, False} == set(seen)


def test_a_proof_survives_its_disturbance(proof: Certificate) -> None:
    machine, automaton = Machine(latch()), language()
    generator = torch.Generator().manual_seed(0)
    state = machine.step(SET[None].double(), torch.zeros(1, 1).double()).expand(256, 1)
    for _ in range(300):
        push = 2 * torch.rand(256, 1, generator=generator, dtype=torch.float64) - 1
        state = machine.step(HOLD.double().expand(256, 3), state) + proof.disturbance * push.sign()
        assert bool((machine.outputs(state).argmax(1) == automaton.answers["one"]).all())


def test_boxes_are_checked_again_from_the_file(proof: Certificate, tmp_path: Path) -> None:
    path = tmp_path / "certificate.npz"
    proof.save(path)
    found = check_again(latch(), path)
    assert (found.condition, found.from_length, found.entered) == (None, 1, 1)
    arrays = dict(np.load(path))
    assert list(arrays["names"]) == ["start", "one", "zero"]
    assert arrays["lower"].shape == arrays["upper"].shape == (3, 1)


def test_both_disturbances_hold_on_the_boxes_that_are_saved(tmp_path: Path) -> None:
    """After five questions in a row the answer leads by little; what may be moved before widens its box."""
    network, path = latch(feedback=1.2, hold=0.0), tmp_path / "certificate.npz"
    with torch.no_grad():
        network.readout.bias.copy_(torch.tensor([-0.6, 0.6]))
    proof = certify(network, waiting(questions=5))
    assert proof.proven
    assert proof.disturbance > 1e-3
    assert proof.input_disturbance > 1e-4
    proof.save(path)
    found = check_again(network, path)
    assert (found.condition, found.from_length) == (None, proof.from_length)


def test_a_box_of_a_state_that_is_left_for_ever_is_drawn_anew(proof: Certificate, tmp_path: Path) -> None:
    assert proof.boxes is not None
    lower, upper = (end.clone() for end in proof.boxes)
    lower[0], upper[0] = 0.0, 0.0  # where the network starts
    given, path = certify(latch(), language(), boxes=Boxes(lower, upper)), tmp_path / "certificate.npz"
    given.save(path)
    assert given.entered == check_again(latch(), path).entered == 1


@pytest.mark.parametrize(
    ("key", "place", "value", "condition"),
    [
        ("lower", (1, 0), 0.99, "one --hold--> one: unit 0 leaves the box by"),
        ("lower", (1, 0), -0.5, "leaves the box by"),
        ("upper", (2, 0), np.nan, "leaves the box by"),
        ("upper", (2, 0), -np.inf, "leaves the box by"),
        ("answers", 1, 1, "one: on its box the lead of the answer 1 falls to"),
        ("disturbance", (), 0.5, "leaves the box by"),
        ("input_disturbance", (), 3.0, "leaves the box by"),
        ("transitions", (4, 2), 2, "leaves the box by"),
    ],
)
def test_tampered_boxes_are_refused(
    proof: Certificate, tmp_path: Path, key: str, place: Any, value: float, condition: str
) -> None:
    path = tmp_path / "certificate.npz"
    proof.save(path)
    arrays = dict(np.load(path))
    arrays[key][place] = value
    np.savez(path, **arrays)
    found = check_again(latch(), path)
    assert found.from_length is None
    assert found.condition is not None
    assert condition in found.condition


def test_boxes_of_another_network_are_refused(proof: Certificate, tmp_path: Path) -> None:
    proof.save(tmp_path / "certificate.npz")
    with pytest.raises(ValueError, match=r"boxes=\(3, 1\): must be of shape \(3, 8\)"):
        check_again(RecurrentNetwork(3, 8, 2), tmp_path / "certificate.npz")


def test_a_network_that_forgets_has_a_counterexample() -> None:
    network = latch(feedback=0.5)
    with torch.no_grad():
        network.readout.bias.copy_(torch.tensor([-0.1, 0.1]))
    found = certify(network, language())
    assert not found.proven
    assert found.from_length is None
    assert found.boxes is None
    assert found.condition is not None
    string = found.counterexample
    assert string is not None
    assert len(string) > 1
    assert string[0] == "set"
    assert set(string[1:]) == {"hold"}
    assert replay(network, string)[-1] == 1  # the answer should be 0
    assert replay(network, string[:-1])[-1] == 0
    with pytest.raises(ValueError, match="proven=False"):
        found.save("nowhere.npz")


def test_a_length_from_which_on_it_is_right() -> None:
    """A state that needs some steps to its place, and errs at a question before."""
    network = latch()
    with torch.no_grad():
        network.layers[0].weight_ih_l0[2] = torch.tensor([0.2, -0.2, 0.0])  # writes a state of .2 only
        network.readout.bias.copy_(torch.tensor([-0.5, 0.5]))
    found = certify(network, waiting())
    assert found.proven
    assert found.entered is not None
    assert found.from_length is not None
    assert 2 < found.from_length <= found.entered + 2
    for length in range(2, found.from_length + 10):
        string = ("set", *["hold"] * (length - 2), "ask")
        wrong = replay(network, string)[-1] != 0
        assert wrong == (length < found.from_length)


def test_strings_too_many_to_be_told_apart_are_followed_in_common_bounds() -> None:
    """A bit is written half, and six steps of holding, each by one of six symbols, lead it to its box."""
    network = latch(hold=1.0)
    with torch.no_grad():
        gate_weights(network.layers[0])["z"].weight_ih[0, :2] = 0.0
    waits = [f"wait {number}" for number in range(6)]
    symbols = {"set": SET, "reset": RESET} | dict.fromkeys(waits, HOLD)
    moves = {("start", "set"): "one", ("start", "reset"): "zero"}
    moves |= {(state, wait): state for state in ("one", "zero") for wait in waits}
    bits = Automaton(["start", "one", "zero"], symbols, moves, {"one": 0, "zero": 1})
    none = torch.full((1, 1), torch.inf, dtype=torch.float64)
    place = torch.tensor([[0.9], [-1.0]], dtype=torch.float64)
    boxes = Boxes(torch.cat([none, place]), torch.cat([-none, place + 0.1]))

    state, symbol_count = network(SET[None, None])[1], 1
    while state.item() < 0.9:
        state, symbol_count = network(HOLD[None, None], state)[1], symbol_count + 1
    assert bits.strings(symbol_count - 1) > STRINGS
    finding = check(Machine(network), bits, boxes)
    assert (finding.condition, finding.from_length, finding.entered) == (None, 1, symbol_count)


def test_sizes_must_be_those_of_the_network() -> None:
    with pytest.raises(ValueError, match="symbols: have 3 entries, must be 2 as the network takes"):
        certify(RecurrentNetwork(2, 4, 2), language())
    with pytest.raises(ValueError, match="answers: name output 1, must be below 1 as the network gives"):
        certify(RecurrentNetwork(3, 4, 1), language())
    with pytest.raises(ValueError, match="readout=None: must be given, a GRU has none"):
        certify(torch.nn.GRU(3, 4), language())
    with pytest.raises(ValueError, match="readout: must be left out, a RecurrentNetwork has its own"):
        certify(RecurrentNetwork(3, 4, 2), language(), torch.nn.Linear(4, 2))


class Negative(nn.GRU):
    def forward(self, *arguments: Any) -> Any:
        output, h_n = super().forward(*arguments)
        return -output, h_n


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda: Negative(2, 8), "network=Negative: has a forward of its own"),
        (lambda: nn.GRU(2, 8, 2, dropout=0.9), r"dropout=0.9: .* call eval"),
        (lambda: SideMemory("gru", 2, 8, 2, dropout=0.9), r"dropout=0.9: .* call eval"),
    ],
)
def test_what_computes_something_else_is_refused(network: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Machine(network(), nn.Linear(8, 2))
    if "dropout" in said:
        assert Machine(network().eval(), nn.Linear(8, 2)).units == 16
