"""What a few seeds can show: intervals of shares and of paired differences, and how often one is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from configs.values import ConfigError

LEVEL = 0.95
FEWEST = 3
"""The fewest pairs of runs for which there is an interval."""


def share_interval(successes: int, runs: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share, at `LEVEL`."""
    interval = _scipy().binomtest(successes, runs).proportion_ci(LEVEL, method="exact")
    return float(interval.low), float(interval.high)


def paired_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's interval of the mean of paired differences, at `LEVEL`.

    A bootstrap is too narrow for so few pairs: of three it is their range, which holds the mean in three cases of
    four. None with fewer than `FEWEST` pairs, or if a difference is not finite.
    """
    if len(differences) < FEWEST or not np.isfinite(differences).all():
        return None
    stats, mean = _scipy(), np.mean(differences)
    half = stats.sem(differences) * stats.t.ppf((1 + LEVEL) / 2, len(differences) - 1)
    return float(mean - half), float(mean + half)


def probability_of_improvement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how often a run of ours lies above one of theirs, over all pairs of runs; a tie counts half.

    This is the U of Mann and Whitney as a share (Agarwal et al. 2021, arXiv 2108.13264). Values may be infinite.
    """
    return float(_scipy().mannwhitneyu(ours, theirs).statistic) / (len(ours) * len(theirs))


def _scipy() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise ConfigError("intervals need scipy: pip install scipy") from None
    return stats
