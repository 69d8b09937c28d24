from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import rationals
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_warmup.cells import GatedCell
from lightning_warmup.engine.gates import Gate
from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.proofs.intervals import Interval, add, lerp, mul, stored
from lightning_warmup.proofs.machine import Machine

FLOATS = st.floats(-1e3, 1e3, allow_subnormal=True)


class Peephole(GatedCell):
    """A cell of somebody's own: two states, relu, plain operators, numbers on either side."""

    gates = {"f": Gate("diagonal"), "g": Gate(), "m": Gate(input=False)}
    states = 2

    def step(self, h: Tensor, c: Tensor, gate: Any) -> tuple[Tensor, Tensor]:
        f = torch.sigmoid(gate.f(c))
        c = f * c + (1 - f) * torch.relu(gate.g(h) - 0.5 * h)
        return c.tanh() * gate.m(h).sigmoid(), c


def networks() -> dict[str, tuple[nn.Module, nn.Linear | None]]:
    torch.manual_seed(0)
    found: dict[str, tuple[nn.Module, nn.Linear | None]] = {
        f"{cell}{' double' * double}": (RecurrentNetwork(3, 6, 4, 2, cell, double), None)
        for cell in ("gru", "lstm", "rnn", "mgu", "brc", "nbrc")
        for double in (False, True)
    }
    for rnn in (nn.GRU(3, 6, 2), nn.LSTM(3, 6, 2, bias=False), nn.RNN(3, 6, 2)):
        found[f"torch {type(rnn).__name__}"] = rnn, nn.Linear(6, 4, bias=False)
    own = RecurrentNetwork(3, 6, 4)
    own.layers[0] = Peephole(3, 6)
    found["own"] = own, None
    for network, _ in found.values():
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.7)
    return found


NETWORKS = networks()


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), radius=st.sampled_from([0.0, 1e-12, 1e-3, 0.1, 1.0]))
def test_states_of_a_box_stay_in_its_image(name: str, seed: int, radius: float) -> None:
    machine, generator = Machine(*NETWORKS[name]), torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1

    state, input = uniform(1, machine.units), uniform(1, 3)
    box, noise = (Interval.around(each, radius) for each in (state, input))
    image, towards = machine.step_towards(noise, box)
    corners = [uniform(64, each.shape[1]).sign() for each in (state, input)]
    inside = [uniform(64, each.shape[1]) for each in (state, input)]
    for away, shift in (corners, inside):
        after = machine.step(input + radius * shift, state + radius * away)
        assert bool(((image.lower <= after) & (after <= image.upper)).all())
        lead = machine.leads(after, torch.full((64,), 2))
        bounds = machine.leads(image, torch.tensor([2]))
        assert bool(((bounds.lower <= lead) & (lead <= bounds.upper)).all())
    held = Interval(torch.minimum(box.lower, towards.lower), torch.maximum(box.upper, towards.upper))
    if name.split()[0] in ("gru", "mgu", "brc", "nbrc"):
        assert bool(((held.lower <= image.lower) & (image.upper <= held.upper)).all())
    if "lstm" in name.lower():
        # Candidates of its cells are not rounded outwards.
        reach = 1e-12 * (1 + held.lower.abs().maximum(held.upper.abs()))
        assert bool(((held.lower - reach <= image.lower) & (image.upper <= held.upper + reach)).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_machine_steps_as_the_network_does(name: str) -> None:
    network, readout = NETWORKS[name]
    machine = Machine(network, readout)
    input = torch.randn(5, 1, 3)
    output, _ = network(input)
    expected = output if readout is None else readout(output)
    state = torch.zeros(1, machine.units, dtype=torch.float64)
    for x, want in zip(input, expected, strict=True):
        state = machine.step(x.double(), state)
        torch.testing.assert_close(machine.outputs(state).float(), want, rtol=1e-4, atol=1e-5)


@given(FLOATS, FLOATS, FLOATS, st.floats(0, 1))
def test_results_hold_in_exact_arithmetic(a: float, b: float, c: float, weight: float) -> None:
    """Of points, so that all of a result's width is that of its rounding."""
    x, y, z, w = (Interval(t, t) for t in torch.tensor([[a], [b], [c], [weight]], dtype=torch.float64))
    p, q, r, s = map(Fraction, (a, b, c, weight))
    exact = {
        add: (p + q, add(x, y)),
        mul: (p * q, mul(x, y)),
        torch.addcmul: (p + 2 * q * r, torch.addcmul(x, y, z, value=2)),
        lerp: (p + s * (q - p), lerp(x, y, w)),
    }
    for value, found in exact.values():
        assert Fraction(found.lower.item()) <= value <= Fraction(found.upper.item())
    rows = torch.tensor([[a, b, c]], dtype=torch.float64)
    product = nn.functional.linear(Interval(rows.t().clone().t(), rows), rows, rows[0, :1])
    assert Fraction(product.lower.item()) <= p * p + q * q + r * r + p <= Fraction(product.upper.item())


@settings(deadline=None)
@given(st.floats(-25, 25).filter(lambda x: abs(x) > 1e-6))  # nearer to 0 the series is not exact enough
def test_elementary_functions_hold_to_the_last_place(x: float) -> None:
    point, exact = torch.tensor([x], dtype=torch.float64), Fraction(x)
    for function, by_series in ((torch.sigmoid, rationals.sigmoid), (torch.tanh, rationals.tanh)):
        found, (low, high) = function(Interval(point, point)), by_series(rationals.Range(exact, exact))
        assert Fraction(found.lower.item()) <= low <= high <= Fraction(found.upper.item())


@given(st.floats(-7e4, 7e4), st.floats(0, 1e-3))
def test_what_is_stored_in_a_precision_lies_in_its_bounds(value: float, width: float) -> None:
    """numpy rounds to float16 at once, as it should be."""
    box = Interval(*torch.tensor([[value - width], [value + width]], dtype=torch.float64))
    for precision, exact in ((torch.float16, np.float16), (torch.float32, np.float32)):
        found = stored(box, precision)
        with np.errstate(over="ignore"):
            for inside in (value - width, value, value + width):
                assert found.lower.item() <= float(exact(inside)) <= found.upper.item()


def test_a_double_beside_the_middle_of_two_halves_is_rounded_once() -> None:
    """By way of float32 it would fall onto the middle, and from there to the other one of the two."""
    near = torch.tensor([1 + 2**-11 + 2**-40], dtype=torch.float64)
    found = stored(Interval(near, near), torch.float16)
    assert found.upper.item() == float(np.float16(near.item())) == 1 + 2**-10


def test_what_has_no_bounds_is_named() -> None:
    point = Interval(torch.zeros(2), torch.ones(2))
    with pytest.raises(TypeError, match=r"torch\.softmax: has no bounds on intervals; known are add, "):
        torch.softmax(point, 0)
    with pytest.raises(TypeError, match=r"Tensor\.add_: has no bounds"):
        point.add_(1)
    with pytest.raises(TypeError, match=r"dtype=torch\.float64: must be torch\.float32 or less precise"):
        point + torch.zeros(2, dtype=torch.float64)


def test_a_unit_that_holds_has_bounds_that_do_not_creep() -> None:
    box = Interval(torch.tensor([0.3]).double(), torch.tensor([0.4]).double(), held=True)
    candidate, share = Interval(box.lower + 0.01, box.upper - 0.01), torch.tensor([1 - 1e-12]).double()
    image = torch.lerp(candidate, box, share)
    assert image.lower >= box.lower
    assert image.upper <= box.upper
    assert image.candidate is candidate


def test_bounds_have_gradients() -> None:
    """Of the network's own parameters, as finite differences say."""
    network = RecurrentNetwork(3, 4, 2, 2, "lstm").double()
    x, h = torch.randn(1, 3).double(), torch.randn(1, 16).double()

    def width() -> Tensor:
        image = Machine(network).step(Interval.around(x, 0.1), Interval.around(h, 0.1))
        return (image.upper - image.lower).sum()

    width().backward()
    direction = {p: torch.randn_like(p) for p in network.layers.parameters()}
    slope = sum((p.grad * d).sum() for p, d in direction.items())
    ends = []
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in direction.items():
                p += sign * 1e-6 * d
            ends.append(width())
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)
