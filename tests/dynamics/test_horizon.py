"""How many steps a network remembers, against closed forms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_warmup import Published, RecurrentNetwork, memory_horizon, multistability, warmup
from lightning_warmup.dynamics.spans import Spans


class Recurrence(nn.Module):
    """Applies a function of state and input, both ``(B, H)``, at every step."""

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor], batch_first: bool = False) -> None:
        super().__init__()
        self.step, self.batch_first = step, batch_first

    def forward(self, input: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        time = int(self.batch_first)
        h = torch.zeros_like(input.select(time, 0)) if state is None else state[0]
        outputs = []
        for x in input.unbind(time):
            h = self.step(h, x)
            outputs.append(h)
        return torch.stack(outputs, time), h[None]


def leak(rate: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda h, x: rate * h + x


def latch(h: Tensor, x: Tensor) -> Tensor:
    return torch.where(h == 0, x, h)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 0.99])
def test_a_leak_forgets_when_it_should(rate: float) -> None:
    found = memory_horizon(Recurrence(leak(rate)), noise(20, 12, 3), limit=1000, gradient_limit=1000)
    expected = math.log(1e-3) / math.log(rate)
    np.testing.assert_allclose(found.forward.steps, expected)
    np.testing.assert_allclose(found.backward.steps, expected)
    assert len(found.forward.steps) == 6
    for spans in (found.forward, found.backward):
        assert spans.median == pytest.approx(expected)
        assert spans.quartiles == pytest.approx((expected, expected))
        reached = spans.looks < 2 * expected
        for shares in spans.shares[reached].T:
            np.testing.assert_allclose(shares, rate ** spans.looks[reached], rtol=1e-6)
    words = f"{math.ceil(expected - 1e-9)} steps"
    assert str(found) == f"memory: {words}; gradient: {words}"


def test_what_is_left_may_be_chosen() -> None:
    found = memory_horizon(Recurrence(leak(0.9)), noise(20, 12, 3), limit=100, left=0.1)
    assert found.forward.median == pytest.approx(math.log(0.1) / math.log(0.9))


def test_what_is_never_forgotten_lasts_for_ever() -> None:
    held = memory_horizon(Recurrence(leak(1.0)), noise(20, 12, 3), limit=300, gradient_limit=100)
    assert (held.forward.steps == math.inf).all()
    assert (held.backward.steps == math.inf).all()
    assert str(held) == "memory: more than 300 steps; gradient: more than 100 steps"
    assert (held.forward.looks[-1], held.backward.looks[-1]) == (300, 99)
    np.testing.assert_allclose(held.backward.shares, 1.0)
    latched = memory_horizon(Recurrence(latch), noise(20, 12, 3), limit=300)
    assert (latched.forward.steps == math.inf).all()
    assert (latched.backward.steps == 0).all()  # it holds what no gradient can teach it


def test_a_network_of_two_places_keeps_half_of_the_pairs_apart(tmp_path: Path) -> None:
    """h = tanh(3 h + x) goes to +1 or -1, by the sign of the first inputs, and no later input moves it."""
    sequences = noise(20, 400, 1).clamp(-1, 1)
    bistable = Recurrence(lambda h, x: torch.tanh(3 * h + x))
    found = memory_horizon(bistable, sequences, limit=300, pairs=200).forward
    assert multistability(bistable, sequences).vaa < 2.1 / 400
    assert 70 < found.apart < 130
    steps = math.ceil(np.median(found.steps[np.isfinite(found.steps)]))
    assert steps < 50
    assert str(found) == f"more than 300 steps for {found.apart} of 200 pairs, {steps} for the rest"
    found.save(tmp_path / "spans.npz")
    again = Spans.load(tmp_path / "spans.npz")
    assert (str(again), again.median) == (str(found), found.median)
    np.testing.assert_array_equal(again.shares, found.shares)


def test_a_network_that_tells_nothing_apart_remembers_nothing() -> None:
    found = memory_horizon(Recurrence(lambda h, x: 0 * h + 0 * x), noise(20, 12, 3), limit=50)
    assert found.forward.median == found.backward.median == 0
    assert str(found) == "memory: 0 steps; gradient: 0 steps"


def test_a_delay_line_remembers_as_long_as_it_is() -> None:
    def shift(h: Tensor, x: Tensor) -> Tensor:
        return torch.cat([x[:, :1], h[:, :-1]], 1)

    found = memory_horizon(Recurrence(shift), noise(20, 12, 8), limit=50)
    assert ((found.forward.steps > 7) & (found.forward.steps < 8)).all()
    assert ((found.backward.steps > 7) & (found.backward.steps < 8)).all()


@pytest.mark.parametrize("mixed", [False, True])
def test_what_explodes_is_remembered_until_it_overflows(mixed: bool) -> None:
    """States grow threefold at each step: float32 ends after 81 steps."""
    torch.manual_seed(0)
    network = nn.RNN(1, 8, nonlinearity="relu", bias=False)
    with torch.no_grad():
        network.weight_ih_l0.abs_()
        network.weight_hh_l0.copy_(torch.full((8, 8), 3 / 8) if mixed else 3 * torch.eye(8))
    found = memory_horizon(network, torch.rand(5, 12, 1))
    for spans in (found.forward, found.backward):
        assert np.isfinite(spans.shares).all()
        assert ((spans.steps > 60) & (spans.steps < 90)).all()


def test_nothing_is_read_beyond_the_end_of_a_sequence() -> None:
    sequences, lengths = noise(20, 12, 3), torch.arange(3, 15)
    sequences[torch.arange(20).unsqueeze(1) >= lengths] = torch.nan
    found = memory_horizon(Recurrence(leak(0.9)), sequences, lengths, limit=100)
    assert found.forward.median == pytest.approx(math.log(1e-3) / math.log(0.9))


@pytest.mark.parametrize("cell", ["gru", "lstm", "nbrc"])
def test_layouts_modes_and_repetitions_do_not_matter(cell: str) -> None:
    torch.manual_seed(0)
    network, sequences = RecurrentNetwork(1, 8, 1, 2, cell, double=True), torch.randn(30, 20, 1)
    state = torch.get_rng_state()
    first = memory_horizon(network, sequences, limit=100)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    network.batch_first = True
    with torch.inference_mode():
        second = memory_horizon(network.eval(), sequences.transpose(0, 1), limit=100)
    for one, other in ((first.forward, second.forward), (first.backward, second.backward)):
        np.testing.assert_array_equal(one.steps, other.steps)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_gradient_is_that_of_the_last_state_by_each_input() -> None:
    torch.manual_seed(0)
    rnn, constant = nn.GRU(2, 1).double(), noise(1, 1, 2)  # of one unit, so that every direction is the same
    lengths = torch.tensor([7, 7])
    found = memory_horizon(rnn, constant.expand(7, 2, 2), lengths, limit=30, gradient_limit=30).backward
    inputs = constant.repeat(30, 1, 1).requires_grad_()
    _, start = rnn(constant.expand(7, 1, 2))
    (gradient,) = torch.autograd.grad(rnn(inputs, start)[1].sum(), inputs)
    norms = gradient.norm(dim=-1).flatten().flip(0)
    np.testing.assert_allclose(found.shares[:, 0], (norms / norms.max())[found.looks], atol=1e-6)


def test_a_warmup_lengthens_the_memory() -> None:
    torch.manual_seed(0)
    gru, sequences = nn.GRU(1, 24), torch.randn(20, 64, 1)
    before = memory_horizon(gru, sequences, limit=500)
    warmup(gru, sequences, objective=Published(steps=80, extension=1, max_stabilization=80))
    after = memory_horizon(gru, sequences, limit=500)
    assert before.forward.median < 30
    assert after.forward.median > 10 * before.forward.median


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": 0}, "limit=0: must be at least 1"),
        ({"pairs": 0}, "pairs=0: must be at least 1"),
        ({"left": 1.0}, "left=1.0: must be between 0 and 1"),
        ({"sequences": noise(5, 1, 1)}, "sequences=1: must be at least 2"),
    ],
)
def test_refusals(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        memory_horizon(nn.GRU(1, 2), **{"sequences": torch.randn(5, 4, 1), **arguments})


@pytest.mark.parametrize("measure", [memory_horizon, multistability])
def test_lengths_and_numbers_are_checked_before_anything_is_drawn(measure: Any) -> None:
    sequences, generator = torch.randn(5, 4, 1), torch.Generator().manual_seed(0)
    before = generator.get_state()
    for wrong in ([0, 0, 0, 0], [1, 2, 3, 6], [1, 2, 3]):
        said = re.escape(f"lengths={wrong}: must be 4 numbers of steps in 1..5")
        with pytest.raises(ValueError, match=said):
            measure(nn.GRU(1, 2), sequences, torch.tensor(wrong), generator=generator)
    sequences[2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"^sequences: must be finite, there are NaN .* in 1 of 4$"):
        measure(nn.GRU(1, 2), sequences, generator=generator)
    assert torch.equal(before, generator.get_state())
