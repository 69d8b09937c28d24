"""How long something lasts over pairs of histories, in numbers, in words and in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_warmup.dynamics.functional import memory_span

MEMORY = "memory"
"""Folder with such files in a run folder."""


@dataclass(frozen=True, repr=False)
class Spans:
    """How long something lasts, over pairs of histories.

    Attributes:
        steps: Number of steps until a share of ``left`` remains, for each pair, ``(P,)``; infinity if more remains
            after ``limit`` steps.
        looks: Numbers of steps that were looked at, ``(S,)``.
        shares: Share that is left after so many steps, ``(S, P)``; 0 beyond the last look.
        limit: The most steps.
    """

    steps: NDArray[np.float64]
    looks: NDArray[np.int64]
    shares: NDArray[np.float64]
    limit: int

    @classmethod
    def of(cls, shares: Tensor, looks: Tensor, left: float, limit: int) -> Spans:
        """Return the spans of shares ``(S, P)``."""
        steps = memory_span(shares, looks, left)
        return cls(steps.cpu().numpy(), looks.numpy(), shares.double().cpu().numpy(), limit)

    @property
    def median(self) -> float:
        return self._quantile(0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        return self._quantile(0.25), self._quantile(0.75)

    @property
    def median_shares(self) -> NDArray[np.float64]:
        """Median over pairs of what is left, ``(S,)``."""
        return np.median(self.shares, axis=1)

    @property
    def apart(self) -> int:
        """Number of pairs that ``limit`` steps have not brought together."""
        return int(np.isinf(self.steps).sum())

    def save(self, path: Path) -> None:
        """Write the spans to an ``.npz`` file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> Spans:
        """Read spans from their file."""
        with np.load(path) as file:
            return cls(file["steps"], file["looks"], file["shares"], int(file["limit"]))

    def __str__(self) -> str:
        if 0 < self.apart < len(self.steps):
            # Two histories may have gone to the same place; a median says nothing about few places.
            rest = self._words(float(np.median(self.steps[np.isfinite(self.steps)])))
            apart = f"{self.apart} of {len(self.steps)} pairs"
            return f"more than {self.limit:,} steps for {apart}, {rest} for the rest"
        low, high = map(self._words, self.quartiles)
        return f"{self._words(self.median)} steps" + ("" if low == high else f" ({low} to {high})")

    def __repr__(self) -> str:
        return f"Spans({self})"

    def _quantile(self, share: float) -> float:
        return float(np.quantile(self.steps, share, method="inverted_cdf"))  # no mean with infinity

    def _words(self, steps: float) -> str:
        return f"more than {self.limit:,}" if np.isinf(steps) else f"{np.ceil(steps):,.0f}"
