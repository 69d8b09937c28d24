"""What a warmup saw at each step, and what it has reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

RETAINED = 1e-5
"""What a network retains at least if it can learn: with less, rounding and the newest inputs hide it."""


@dataclass(frozen=True)
class WarmupStep:
    """What one warmup step saw, before it moved the weights.

    Attributes:
        step: Number of the step, from 0.
        attempt: Number of the attempt, from 1.
        stabilization: Number M of constant steps.
        loss: The loss of the objective.
        vaa_star: VAA*, mean over the layers.
        gradient_norm: Euclidean norm of the gradient.
        unrest: How far states are from rest, mean over the layers; 0 where the objective does not look.
        reached: The figure that the goal is about, where it was measured on the way.
    """

    step: int
    attempt: int
    stabilization: int
    loss: float
    vaa_star: float
    gradient_norm: float
    unrest: float
    reached: float | None = None


@dataclass(frozen=True)
class WarmupResult(Sequence[WarmupStep]):
    """The steps of a warmup, of which it is a sequence, and what it has reached on its last batch.

    Attributes:
        history: The steps of all attempts.
        goal_reached: Whether the objective's goal is reached.
        vaa: VAA of the warmed network.
        resting_vaa: Resting VAA of the warmed network.
        settle_steps: Constant steps M at which both are measured.
        retained: What the warmed network still has of the first halves of sequences at their ends; see
            :func:`lightning_warmup.dynamics.measure.retained`.
    """

    history: tuple[WarmupStep, ...] = field(repr=False)
    goal_reached: bool
    vaa: float
    resting_vaa: float
    settle_steps: int
    retained: float

    @property
    def trainable(self) -> bool:
        """Whether the network retains enough for a training to find it."""
        return self.retained > RETAINED

    @property
    def attempts(self) -> int:
        """Number of attempts."""
        return self.history[-1].attempt

    def __len__(self) -> int:
        return len(self.history)

    def __getitem__(self, index: Any) -> Any:
        return self.history[index]
