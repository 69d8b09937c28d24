from __future__ import annotations

from typing import Any

import pytest
import torch
from latch import HOLD, SET, counter, language, latch
from torch import Tensor, nn

from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.proofs import certify, prove
from lightning_warmup.proofs.machine import Machine
from lightning_warmup.proofs.outputs import run
from lightning_warmup.proofs.practise import practise
from lightning_warmup.proofs.strings import draw


def outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    return run(network, None, inputs)[0]


def test_a_network_that_forgets_is_trained_to_hold() -> None:
    network = latch(feedback=0.9)
    assert not certify(network, language()).proven
    found = prove(network, language(), longest=8, steps=300)
    assert found.proven
    assert found.radius is not None
    assert found.radius >= 0.05
    assert found.disturbance >= 5e-4
    assert certify(network, language()).proven


def test_a_memory_that_fades_practises_to_last() -> None:
    network, held = latch(feedback=0.5), torch.stack([SET, *[HOLD] * 63])[:, None]

    def lead() -> float:
        first, second = outputs(network, held)[-1, 0].tolist()
        return first - second

    assert lead() < 0.05
    practise(network, None, (latch(feedback=0.5), None), language(), longest=8, seed=0)
    assert lead() > 0.2


def test_a_cell_that_counts_is_trained_to_come_to_rest() -> None:
    network = counter()
    assert not certify(network, language()).proven
    found = prove(network, language(), longest=8, steps=600)
    assert found.proven
    assert found.boxes is not None
    assert float(found.boxes.upper.max()) < 10


def test_what_a_network_answers_right_stays() -> None:
    network = latch(feedback=1.3)
    strings = next(draw(language(), 8, 6, seed=3)).inputs
    before = outputs(network, strings).detach()
    assert prove(network, language(), longest=6, steps=200).proven
    assert float((outputs(network, strings) - before).detach().abs().max()) < 0.5


def test_a_network_without_a_proof_is_left_as_it_was() -> None:
    network = latch(feedback=0.5)
    before = [parameter.clone() for parameter in network.parameters()]
    assert not prove(network, language(), longest=4, steps=1).proven
    assert all(map(torch.equal, before, network.parameters()))


def test_a_network_is_left_as_it_was_if_the_user_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    network = latch(feedback=0.9)
    before = [parameter.clone() for parameter in network.parameters()]
    monkeypatch.setattr(torch.optim.lr_scheduler.LambdaLR, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prove(network, language(), longest=8)
    assert all(map(torch.equal, before, network.parameters()))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_states_are_joined_as_a_machine_has_them(cell: str, double: bool) -> None:
    network = RecurrentNetwork(3, 6, 2, 2, cell, double)
    inputs, machine = torch.randn(4, 5, 3), Machine(network)
    state = torch.zeros(5, machine.units, dtype=torch.float64)
    for x in inputs.double():
        state = machine.step(x, state)
    torch.testing.assert_close(machine.joined(network(inputs)[1]), state, rtol=1e-4, atol=1e-5)


def test_strings_are_those_of_the_language() -> None:
    automaton, found = language(), draw(language(), 16, 7, seed=0)
    names = list(automaton.symbols)
    for strings in (next(found), next(found), next(found)):
        for inputs, states in zip(strings.inputs.unbind(1), strings.states.unbind(1), strict=True):
            path = automaton.run([names[int(x.argmax())] for x in inputs])
            assert [automaton.states[int(state)] for state in states] == path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"longest": 0}, "longest=0: must be at least 1"),
        ({"steps": 0}, "steps=0: must be at least 1"),
        ({"radius": 0.0}, "radius=0.0: must be above 0"),
    ],
)
def test_mistakes_are_told_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prove(latch(), language(), **({"longest": 4} | change))
