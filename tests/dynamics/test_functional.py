"""The measures against closed forms and slow loops."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_warmup.dynamics.functional import at_rest, resting_vaa, vaa, vaa_star
from lightning_warmup.dynamics.metrics import VAA, RestingFraction, VAAStar


def slow_vaa(states: torch.Tensor, epsilon: float) -> float:
    total = 0.0
    for i in range(len(states)):
        total += 1 / sum(float((states[i] - states[j]).norm()) < epsilon for j in range(len(states)))
    return total / len(states)


def slow_vaa_star(states: torch.Tensor, epsilon: float) -> float:
    rows, total = torch.tanh(states), 0.0
    for i in range(len(rows)):
        close = 0.0
        for j in range(len(rows)):
            distance = math.sqrt(float(((rows[i] - rows[j]) ** 2).sum()))
            close += 1 - max(distance - epsilon, 0.0) / (distance + 1e-6)
        total += 1 / close
    return total / len(rows)


def clusters(sizes: list[int], distance: float, spread: float, hidden: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    centres = torch.eye(hidden, dtype=torch.float64)[: len(sizes)] * distance
    rows = torch.cat([centre.expand(size, -1) for centre, size in zip(centres, sizes, strict=True)])
    return rows + spread * torch.rand(rows.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 33, 64])
def test_vaa_of_one_equilibrium_is_one_over_n_and_of_n_is_one(count: int) -> None:
    assert float(vaa(torch.ones(count, 5))) == pytest.approx(1 / count)
    assert float(vaa(torch.arange(count)[:, None] * torch.ones(5))) == pytest.approx(1.0)


@pytest.mark.parametrize("sizes", [[1, 1], [3, 5], [10, 20, 4]])
def test_vaa_counts_clusters(sizes: list[int]) -> None:
    states = clusters(sizes, distance=1.0, spread=1e-6)
    assert float(vaa(states)) == pytest.approx(len(sizes) / sum(sizes))
    assert float(vaa(states[torch.randperm(len(states))])) == pytest.approx(len(sizes) / sum(sizes))


def test_vaa_and_vaa_star_match_the_slow_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(40, 3, generator=generator, dtype=torch.float64) * 3e-4
    assert float(vaa(states, 3e-4)) == pytest.approx(slow_vaa(states, 3e-4), abs=1e-12)
    assert float(vaa_star(states, 3e-4)) == pytest.approx(slow_vaa_star(states, 3e-4), abs=1e-9)


def test_the_distance_is_exact_for_many_close_states_of_many_units() -> None:
    """A matrix product would call these 64 states, 4e-6 apart, distinct."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, 512, generator=generator) + 1e-7 * torch.randn(64, 512, generator=generator)
    assert float(vaa(states)) == pytest.approx(1 / 64)


def test_the_comparison_is_strict() -> None:
    assert float(vaa(torch.tensor([[0.0], [0.5]]), epsilon=0.5)) == 1.0
    assert float(vaa(torch.tensor([[0.0], [0.5]]), epsilon=0.5000001)) == 0.5


def test_vaa_star_comes_near_vaa_where_clusters_are_tight_and_far() -> None:
    states = clusters([4, 4, 8], distance=2.0, spread=0.0)
    assert float(vaa_star(states)) == pytest.approx(float(vaa(states)), abs=16 * 1e-4)


@pytest.mark.parametrize(("ratio", "closeness"), [(0.5, 1.0), (1.0, 1.0), (2.0, 0.5), (10.0, 0.1)])
def test_closeness_decays_as_epsilon_over_distance(ratio: float, closeness: float) -> None:
    states = torch.tensor([[0.0], [1e-2 * ratio]], dtype=torch.float64)
    assert float(vaa_star(states, epsilon=1e-2)) == pytest.approx(1 / (1 + closeness), rel=2e-3)


def test_vaa_star_has_no_gradient_on_collapse_and_a_finite_one_at_coincident_states() -> None:
    collapsed = (1e-6 * torch.randn(8, 4, dtype=torch.float64)).requires_grad_()
    vaa_star(collapsed).backward()
    assert collapsed.grad is not None
    assert float(collapsed.grad.abs().max()) == 0.0

    twins = torch.tensor([[0.3], [0.3], [0.31]], dtype=torch.float64, requires_grad=True)
    vaa_star(twins).backward()
    assert twins.grad is not None
    assert bool(torch.isfinite(twins.grad).all())
    assert float(twins.grad.abs().max()) > 0


def test_vaa_star_gradcheck() -> None:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: vaa_star(z, 1e-2), (states,))


def test_half_precision_states_are_compared_in_float32() -> None:
    states = torch.randn(30, 8).bfloat16()
    assert vaa(states).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert vaa_star(states.float()).dtype == torch.float32


@pytest.mark.parametrize("measure", [vaa, vaa_star])
def test_bad_arguments_are_named(measure) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        measure(torch.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(0, 3\)"):
        measure(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="epsilon=0"):
        measure(torch.zeros(2, 3), 0.0)


def test_rest_is_relative_to_the_size_of_a_unit() -> None:
    states = torch.tensor([[0.0, 1000.0]], dtype=torch.float64)
    assert bool(at_rest(states, states + torch.tensor([0.9e-6, 0.9e-3])))
    assert not bool(at_rest(states, states + torch.tensor([1.1e-6, 0.0])))
    assert not bool(at_rest(states, states + torch.tensor([0.0, 1.1e-3])))


def test_resting_vaa_counts_resting_states_only() -> None:
    states = torch.tensor([[0.0], [0.0], [1.0], [2.0]])
    resting = torch.tensor([True, True, True, False])
    assert float(resting_vaa(states, resting)) == pytest.approx(2 / 4)
    assert float(resting_vaa(states, torch.ones(4, dtype=torch.bool))) == pytest.approx(float(vaa(states)))
    assert float(resting_vaa(states, torch.zeros(4, dtype=torch.bool))) == 0.0


def test_metrics_agree_with_the_functions_over_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(20, 3, generator=generator) * 1e-4
    ahead = states + 2e-6 * torch.rand(20, 3, generator=generator)
    plain, star, rest = VAA(), VAAStar(), RestingFraction()
    for rows in torch.arange(20).split(7):
        plain.update(states[rows])
        star.update(states[rows])
        rest.update(states[rows], ahead[rows])
    assert float(plain.compute()) == pytest.approx(float(vaa(states)))
    assert float(star.compute()) == pytest.approx(float(vaa_star(states)))
    assert float(rest.compute()) == pytest.approx(float(at_rest(states, ahead).float().mean()))
