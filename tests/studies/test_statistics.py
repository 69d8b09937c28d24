"""Intervals against published values and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from studies.statistics import paired_interval, probability_of_improvement, share_interval


@pytest.mark.parametrize(
    ("successes", "runs", "low", "high"),
    [
        (0, 5, 0, 1 - 0.025 ** (1 / 5)),  # the closed forms at both ends
        (5, 5, 0.025 ** (1 / 5), 1),
        (10, 10, 0.025 ** (1 / 10), 1),
        (1, 10, 0.0025, 0.4450),  # Agresti and Coull 1998 and many tables
        (5, 10, 0.1871, 0.8129),
    ],
)
def test_the_interval_of_a_share(successes: int, runs: int, low: float, high: float) -> None:
    assert share_interval(successes, runs) == pytest.approx((low, high), abs=6e-5)


def test_the_interval_of_paired_differences_holds_their_mean_as_often_as_it_says() -> None:
    samples = np.random.default_rng(0).normal(0.5, 2, (4000, 3))
    found = [paired_interval(sample) or (0, 0) for sample in samples.tolist()]
    assert np.mean([low < 0.5 < high for low, high in found]) == pytest.approx(0.95, abs=0.01)


def test_of_many_pairs_it_is_about_that_of_the_normal_distribution() -> None:
    differences = np.random.default_rng(1).normal(1, 2, 400).tolist()
    half = 1.96 * np.std(differences) / 20
    mean = np.mean(differences)
    assert paired_interval(differences) == pytest.approx((mean - half, mean + half), abs=0.02)


def test_three_pairs_give_a_wide_one_and_fewer_give_none() -> None:
    assert paired_interval([1, 2, 3]) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert paired_interval([0.3, 0.3, 0.3]) == pytest.approx((0.3, 0.3))
    assert paired_interval([0.3, 0.2]) is None
    assert paired_interval([0.3, 0.2, math.inf]) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "probability"),
    [
        ([3, 4], [1, 2], 1),
        ([1, 2], [1, 2], 0.5),
        ([1, 3, 5], [2, 4], 0.5),
        ([2, 2, 9], [2], 2 / 3),
        ([-math.inf, 1], [-math.inf, -math.inf], 0.75),
    ],
)
def test_the_probability_of_improvement_counts_pairs(
    ours: list[float], theirs: list[float], probability: float
) -> None:
    assert probability_of_improvement(ours, theirs) == pytest.approx(probability)
