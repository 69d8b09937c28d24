"""Kinds of rest, on maps whose equilibria are known."""

from __future__ import annotations

import math

import pytest
import torch
from known_maps import Map
from torch import Tensor

from lightning_warmup.cells import BRC, GRU, LSTM
from lightning_warmup.dynamics.reachable import run_constant
from lightning_warmup.dynamics.settling import KINDS, classify, spectral_radii
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import layers_of


def turn(angle: float) -> Tensor:
    return torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )


def ring(state: Tensor) -> Tensor:
    """Pulls every state to the unit circle: a continuum of marginally stable fixed points."""
    radius = state.norm(dim=-1, keepdim=True)
    return state / radius * (1 + radius) / 2


MAPS = {
    # map, width, kind, period, spectral radius
    "a bistable unit": (lambda h: torch.tanh(2 * h), 1, "fixed point", 1, None),
    "an affine cell": (lambda h: 0.5 * h + 1, 1, "fixed point", 1, 0.5),
    "a ring": (ring, 2, "fixed point", 1, 1.0),
    "an inversion": (torch.neg, 1, "cycle", 2, 1.0),
    "a turn by a fifth": (lambda h: h @ turn(2 * math.pi / 5), 2, "cycle", 5, 1.0),
    "a turn by an irrational part": (lambda h: h @ turn(1.0), 2, "moving", 0, 1.0),
    "a drift": (lambda h: h + 1e-5, 1, "slow drift", 0, 1.0),
    "a drift below the tolerance of rest": (lambda h: h + 5e-7, 1, "slow drift", 0, 1.0),
    "a decay that never ends": (lambda h: h / (1 + 1e-4 * h.abs()), 1, "slow drift", 0, None),
    "the logistic map in its chaotic range": (lambda h: 3.9 * h * (1 - h), 1, "moving", 0, None),
    "the logistic map in its cycle of four": (lambda h: 3.5 * h * (1 - h), 1, "cycle", 4, None),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_of_known_kind(name: str) -> None:
    function, width, kind, period, radius = MAPS[name]
    torch.manual_seed(0)
    layers = layers_of(Map(function, width))
    states = [0.2 + 0.6 * torch.rand(1, 5, width, dtype=torch.float64)]
    constant = torch.zeros(5, 1, dtype=torch.float64)
    states = run_constant(layers, constant, states, 500)[1]
    kinds, periods = classify(layers, constant, states)
    assert {KINDS[index] for index in kinds.tolist()} == {kind}
    assert set(periods.tolist()) == {period}
    if radius is not None:
        assert spectral_radii(layers, constant, states).tolist() == pytest.approx([radius] * 5, rel=1e-6)


def test_the_equilibria_of_a_bistable_unit_are_stable_and_the_one_between_is_not() -> None:
    layers = layers_of(Map(lambda h: torch.tanh(2 * h), 1))
    point = torch.tensor(1.0, dtype=torch.float64)
    for _ in range(200):
        point = torch.tanh(2 * point)
    states = [torch.stack([-point, torch.zeros_like(point), point]).view(1, 3, 1)]
    slopes = [2 * (1 - float(point) ** 2), 2.0, 2 * (1 - float(point) ** 2)]
    found = spectral_radii(layers, torch.zeros(3, 1, dtype=torch.float64), states)
    assert found.tolist() == pytest.approx(slopes)


@pytest.mark.parametrize("cell", [GRU, BRC, LSTM])
def test_the_spectral_radius_is_the_rate_at_which_a_perturbation_dies(cell: type) -> None:
    torch.manual_seed(0)
    layers = layers_of([cell(2, 5, dtype=torch.float64), cell(5, 5, dtype=torch.float64)])
    constant = torch.randn(1, 2, dtype=torch.float64)
    begin = [layers[0].run(torch.zeros(1, 1, 2, dtype=torch.float64), None)[1]]
    begin.append(layers[1].run(torch.zeros(1, 1, 5, dtype=torch.float64), None)[1])

    def after(steps: int) -> list[State]:
        with torch.no_grad():
            return run_constant(layers, constant, begin, steps)[1]

    rest = after(20_000)
    distances = [
        float(
            sum((flatten_state(a) - flatten_state(b)).norm() for a, b in zip(after(steps), rest, strict=True))
        )
        for steps in (16, 24)
    ]
    assert distances[1] > 1e-13
    (radius,) = spectral_radii(layers, constant, rest).tolist()
    assert (distances[1] / distances[0]) ** (1 / 8) == pytest.approx(radius, rel=0.1)
