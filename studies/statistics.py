"""What a few seeds can show: intervals of shares and of paired differences, and how often one is better."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from configs.compose import ConfigError

LEVEL = 0.95
FEWEST = 3
"""The fewest pairs of runs for which there is an interval."""
_DRAWS = 10_000


def share_interval(successes: int, runs: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share, at `LEVEL`."""
    interval = _scipy().binomtest(successes, runs).proportion_ci(LEVEL, method="exact")
    return float(interval.low), float(interval.high)


def paired_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the bootstrap interval of the mean of paired differences, by percentiles at `LEVEL`.

    It takes all resamples of up to five pairs, and 10,000 random ones of more. With three pairs the interval is
    their range. It is None with fewer than `FEWEST` pairs, or if a difference is not finite.
    """
    count = len(differences)
    if count < FEWEST or not np.isfinite(differences).all():
        return None
    if count**count <= _DRAWS:
        draws = np.array(list(product(differences, repeat=count)))
    else:
        draws = np.random.default_rng(0).choice(np.asarray(differences), (_DRAWS, count))
    means = draws.mean(axis=1)
    # Quantiles between two means are rounded outwards, so that the interval is not too short.
    low = np.quantile(means, (1 - LEVEL) / 2, method="lower")
    high = np.quantile(means, (1 + LEVEL) / 2, method="higher")
    return float(low), float(high)


def probability_of_improvement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how often a run of ours lies above one of theirs, over all pairs of runs; a tie counts half.

    This is the U of Mann and Whitney as a share (Agarwal et al. 2021, arXiv 2108.13264). Values may be infinite.
    """
    return float(_scipy().mannwhitneyu(ours, theirs).statistic) / (len(ours) * len(theirs))


def _scipy() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise ConfigError("intervals need scipy: pip install 'lightning-warmup[studies]'") from None
    return stats
