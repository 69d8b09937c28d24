"""The certificate of a policy, against play in the T-Maze at every length that can tell."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from benchmark import benchmark
from lightning.pytorch import Trainer
from torch import nn

from datamodules.tmaze_env import DOWN, RIGHT, UP
from lightning_warmup.callbacks.report import Report
from lightning_warmup.dynamics.certificate import Certificate, Waiting, certify
from lightning_warmup.modules.dqn import DQNModule
from lightning_warmup.networks import RecurrentNetwork


class Counting(nn.Module):
    """Knows the cue and counts its inputs, from ``end`` on from ``again``; wrong and impatient at some counts."""

    batch_first = True

    def __init__(self, wrong: set[int], impatient: set[int], end: int, again: int) -> None:
        super().__init__()
        self.wrong, self.impatient, self.end, self.again = wrong, impatient, end, again

    def forward(self, input, state=None):
        cue = input[:, 0, 5] - input[:, 0, 6] if state is None else state[0, :, 0]
        count = torch.zeros_like(cue) if state is None else state[0, :, 1]
        junction = input[:, 0, 8] == 1
        values = torch.zeros(len(input), 1, 4)
        for row, seen in enumerate(count.int().tolist()):
            turn = (UP, DOWN) if seen not in self.wrong else (DOWN, UP)
            walk = UP if seen in self.impatient else RIGHT
            values[row, 0, turn[int(cue[row] < 0)] if junction[row] else walk] = 1
        count = torch.where(count == self.end, self.again + 0 * count, count + 1)
        return values, torch.stack([cue, count], 1).unsqueeze(0)


def play(network: nn.Module, lengths: range) -> list[bool]:
    """Whether the greedy policy is optimal in real mazes."""

    @torch.no_grad()
    def policy(inputs, state=None):
        values, state = network(inputs, state)
        return values[:, -1].argmax(1), state

    maze = benchmark("tmaze", capacity=10_000)
    return [maze.evaluate(policy, 1.0, length)["optimal"] == 1 for length in lengths]


def check(network: nn.Module, longest: int = 24, steps: int = 2000) -> Certificate:
    """Compare the certificate with play, and return it."""
    certificate = certify(network, Waiting(**benchmark("tmaze").waiting()), steps)
    optimal = dict(zip(lengths := range(2, longest + 1), play(network, lengths), strict=True))
    failures = [length for length in lengths if not optimal[length]]
    if certificate.first_failure is None or certificate.first_failure <= longest:
        assert certificate.first_failure == (failures[0] if failures else None)
    if certificate.last_failure is None or certificate.last_failure <= longest:
        assert certificate.last_failure == (failures[-1] if failures else None)
    if certificate.from_length is not None:
        assert certificate.from_length == (failures[-1] + 1 if failures else 2)
    assert certificate.all_lengths == (certificate.from_length == 2)
    return certificate


@pytest.mark.parametrize(
    ("wrong", "impatient", "end", "again", "from_length", "rest_after"),
    [
        (set(), set(), 6, 6, 2, 6),
        ({4, 6}, set(), 9, 9, 7, 9),
        ({6}, set(), 6, 6, None, 6),  # at rest, and wrong there
        (set(), set(), 9, 7, 2, None),  # a cycle
        ({8}, set(), 9, 7, None, None),  # wrong once in every round
        (set(), {4}, 9, 9, None, 9),  # turns into the wall
        (set(), {0}, 9, 9, None, 9),
    ],
)
def test_it_says_what_play_shows(wrong, impatient, end, again, from_length, rest_after):
    certificate = check(Counting(wrong, impatient, end, again))
    assert certificate.from_length == from_length
    assert certificate.rest_after == (None if rest_after is None else rest_after - 1)
    assert certificate.distance == 2
    assert certificate.spectral_radius == (None if rest_after is None else 1)


def test_the_report_of_a_run_has_it(tmp_path):
    """Of a maze without chance, in the network that is tested."""
    found = []
    for settings in ({}, {"stochasticity": 0.2}):
        torch.manual_seed(0)
        module = DQNModule({"input_size": 9, "hidden_size": 8, "output_size": 4, "num_layers": 2})
        report = Report(tmp_path, steps=10, sequences=module.sequences, network="network")
        arguments = {
            "accelerator": "cpu",
            "logger": False,
            "fast_dev_run": True,
            "enable_progress_bar": False,
        }
        trainer = Trainer(callbacks=[report], enable_model_summary=False, **arguments)
        trainer.test(module, benchmark("tmaze", length=2, capacity=100, **settings), verbose=False)
        found.append(report.summary()["certified"])
    assert found == [asdict(certify(module.network, Waiting(**benchmark("tmaze").waiting()))), None]


def test_states_that_do_not_repeat_within_the_limit_are_not_certified():
    never_wrong = Counting(set(), set(), 10_000, 10_000)
    certificate = certify(never_wrong, Waiting(**benchmark("tmaze").waiting()), steps=600)
    assert (certificate.from_length, certificate.first_failure) == (None, None)
    assert (certificate.steps, certificate.rest_after) == (600, None)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_networks_that_have_learnt_mazes_of_two_lengths(cell):
    """Supervised; what they do at other lengths is theirs."""
    torch.manual_seed(0)
    network = RecurrentNetwork(9, 12, 4, 2, cell, batch_first=True)
    task = Waiting(**benchmark("tmaze").waiting())
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    for _ in range(80):
        loss = torch.zeros(())
        for length in (2, 4):
            steps = [task.first, *[task.wait.expand(2, -1)] * (length - 1), task.question.expand(2, -1)]
            answers = torch.full((2, length + 1), RIGHT)
            answers[:, -1] = task.answers
            values, _ = network(torch.stack(steps, 1))
            loss = loss + nn.functional.cross_entropy(values.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    certificate = check(network)
    assert certificate.first_failure not in (2, 4)
