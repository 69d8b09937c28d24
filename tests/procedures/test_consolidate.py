"""Consolidation: the states of a policy come to rest, and its answers stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benchmark import benchmark

from lightning_warmup.dynamics.certificate import Waiting, certify
from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.procedures.consolidate import consolidate

TASK = Waiting(**benchmark("tmaze").waiting())
LONGEST = 10


def taught(batch_first: bool) -> RecurrentNetwork:
    """Return a policy that was taught mazes of up to ten steps of waiting."""
    torch.manual_seed(0)
    network = RecurrentNetwork(9, 16, 4, 1, "nbrc", batch_first=batch_first)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(60):
        waiting = 1 + step % LONGEST
        input = torch.stack([TASK.first, *[TASK.wait.expand(2, -1)] * waiting, TASK.question.expand(2, -1)])
        right = torch.stack([*[TASK.patience] * (waiting + 1), TASK.answers])
        if batch_first:
            input, right = input.transpose(0, 1), right.transpose(0, 1)
        values, _ = network(input)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(values.flatten(0, 1), right.flatten()).backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_policy_keeps_its_answers_and_comes_to_rest_much_sooner(batch_first: bool) -> None:
    policy = taught(batch_first)
    before = certify(policy, TASK)
    consolidate(policy, TASK, LONGEST, steps=60)
    after = certify(policy, TASK)
    assert before.all_lengths
    assert after.all_lengths
    assert after.rest_after < before.rest_after / 2
    assert after.spectral_radius < before.spectral_radius - 0.01


@pytest.mark.parametrize("repeats", [True, False])
def test_rounds_end_when_the_states_repeat(repeats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    task = (
        TASK if repeats else replace(TASK, answers=TASK.answers.flip(0))
    )  # what it was taught is wrong there
    first, all_of_them = taught(batch_first=False), taught(batch_first=False)
    consolidate(all_of_them, task, LONGEST, steps=20)
    monkeypatch.setattr("lightning_warmup.procedures.consolidate.ROUNDS", 1)
    consolidate(first, task, LONGEST, steps=20)
    assert certify(all_of_them, task).all_lengths == repeats
    same = map(torch.equal, first.parameters(), all_of_them.parameters())
    assert all(same) == repeats


@pytest.mark.parametrize("setting", ["longest", "steps"])
def test_a_number_below_one_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting}=0: must be at least 1"):
        consolidate(RecurrentNetwork(9, 4, 4, 1), TASK, **({"longest": 1} | {setting: 0}))
