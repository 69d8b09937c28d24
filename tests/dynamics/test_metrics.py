"""The torchmetrics: slow references, bounds, plots."""

from __future__ import annotations

import math

import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lightning_warmup.dynamics import VAA, MemorySpan, RestingFraction, VAAStar, vaa, vaa_star


def settled(count: int = 20) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(0)) * 1e-4


def slow(states: Tensor, star: bool) -> float:
    """One over the number of near states, by loops over pairs in double precision."""
    rows = (torch.tanh(states) if star else states).double().tolist()
    total = 0.0
    for one in rows:
        near = 0.0
        for other in rows:
            distance = math.dist(one, other)
            near += 1 - max(distance - 1e-4, 0) / (distance + 1e-6) if star else distance < 1e-4
        total += 1 / near
    return total / len(rows)


@pytest.mark.parametrize("metric", [VAA(), VAAStar()])
def test_a_metric_of_batches_is_that_of_all_states(metric: Metric) -> None:
    for rows in settled().split(7):
        metric.update(rows)
    assert float(metric.compute()) == pytest.approx(slow(settled(), isinstance(metric, VAAStar)), rel=1e-5)
    metric.reset()
    metric.update(settled(1))
    assert float(metric.compute()) == 1.0


def test_the_resting_fraction_counts_rows_without_a_move() -> None:
    states, ahead = settled(), settled()
    ahead[[2, 5, 11], 1] += 1e-3
    metric = RestingFraction()
    for rows in torch.arange(20).split(7):
        metric.update(states[rows], ahead[rows])
    assert float(metric.compute()) == pytest.approx(17 / 20)
    lenient = RestingFraction(tolerance=1e-2)
    assert float(lenient(states, ahead)) == 1.0


def test_metrics_of_a_collection_keep_their_settings_apart() -> None:
    states, ahead = settled(), settled()
    ahead[:10] += 1e-3
    rest = MetricCollection({"strict": RestingFraction(1e-6), "lenient": RestingFraction(1e-2)})
    near = MetricCollection({"vaa": VAA(), "wide": VAA(1.0), "star": VAAStar(), "far": VAAStar(1e-9)})
    for rows in torch.arange(20).flip(0).split(10):  # of the first, all are at rest for both
        rest.update(states=states[rows], next_states=ahead[rows])
        near.update(states=states[rows])
    assert {name: float(value) for name, value in rest.compute().items()} == {"strict": 0.5, "lenient": 1.0}
    expected = {"vaa": vaa(states), "wide": vaa(states, 1.0)}
    expected |= {"star": vaa_star(states), "far": vaa_star(states, 1e-9)}
    torch.testing.assert_close(near.compute(), expected)


def test_a_memory_span_is_the_median_over_all_pairs() -> None:
    fading = torch.cat([rate ** torch.arange(40.0).view(40, 1, 1) for rate in (0.5, 0.7, 0.9)], 1)
    spans = MetricCollection({"short": MemorySpan(0.5), "long": MemorySpan()})
    for pairs in ([0], [1, 2]):
        spans.update(fading[:, pairs], torch.zeros(40, len(pairs), 1))
    found = {name: float(value) for name, value in spans.compute().items()}
    expected = {"short": math.log(0.5) / math.log(0.7), "long": math.log(1e-3) / math.log(0.7)}
    assert found == pytest.approx(expected, rel=1e-5)
    held = MemorySpan()
    assert float(held(torch.ones(5, 2, 3), torch.zeros(5, 2, 3))) == math.inf
    assert float(held(torch.ones(5, 2, 3), torch.ones(5, 2, 3))) == 0.0


@pytest.mark.parametrize("metric", [VAA(), VAAStar(), RestingFraction()])
def test_a_metric_keeps_no_graph(metric: Metric) -> None:
    states = [settled().requires_grad_() * 1] * (2 if isinstance(metric, RestingFraction) else 1)
    metric.update(*states)
    assert not metric.compute().requires_grad
    value = metric(*states)
    assert value.requires_grad == metric.is_differentiable
    if metric.is_differentiable:
        expected = torch.autograd.grad(vaa_star(states[0]), states[0])
        torch.testing.assert_close(torch.autograd.grad(value, states[0]), expected)
    kept = getattr(metric, "moves" if isinstance(metric, RestingFraction) else "states")
    assert len(kept) == 2
    assert not any(tensor.requires_grad for tensor in kept)


@pytest.mark.parametrize("metric", [VAA(), VAAStar(), RestingFraction()])
def test_a_metric_plots_what_it_has_computed(metric: Metric) -> None:
    states = [settled()] * (2 if isinstance(metric, RestingFraction) else 1)
    metric.update(*states)
    _, axes = metric.plot()
    low, high = axes.get_ylim()
    assert low <= 0.0
    assert high >= 1.0
    into = plt.figure().add_subplot()
    assert metric.plot([torch.tensor(0.2), torch.tensor(0.6)], ax=into)[1] in (into, None)
    assert len(into.lines) > 0
    plt.close("all")
