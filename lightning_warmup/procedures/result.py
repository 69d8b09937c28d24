"""What a warmup saw at each step, and what it has reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.dynamics.measure import Multistability
from lightning_warmup.procedures.objectives import Objective


class WarmupDiverged(RuntimeError):
    """The loss, a gradient or a weight of the warmup is no longer finite."""


RETAINED = 1e-3
"""What a network retains at least if it is to learn soon: with less it learnt late, or not at all."""


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
    """

    step: int
    attempt: int
    stabilization: int
    loss: float
    vaa_star: float
    gradient_norm: float
    unrest: float


@dataclass(frozen=True)
class WarmupResult(Sequence[WarmupStep]):
    """The steps of a warmup, of which it is a sequence, and what it has reached on its last batch.

    Attributes:
        history: The steps of all attempts.
        goal_reached: Whether the objective's goal is reached.
        vaa: VAA of the warmed network.
        resting_vaa: Resting VAA of the warmed network.
        settle_steps: Constant steps M at which both are measured.
        retained: How far the outputs at the ends of sequences still differ by their first halves; see
            :func:`lightning_warmup.dynamics.measure.retained`.
        kept: Number of the attempt whose weights are kept, the best; 0 if they are those from before the warmup.
    """

    history: tuple[WarmupStep, ...] = field(repr=False)
    goal_reached: bool
    vaa: float
    resting_vaa: float
    settle_steps: int
    retained: float
    kept: int = 1

    @property
    def trainable(self) -> bool:
        """Whether the network retains enough for a training to find it."""
        return self.retained > RETAINED

    @property
    def attempts(self) -> int:
        """Number of attempts."""
        return self.history[-1].attempt

    def in_words(self, objective: Objective) -> str:
        """Return what the warmup has reached, on one line."""
        reached = []
        for name, words in {"vaa": "VAA", "resting_vaa": "resting VAA"}.items():
            goal = f" (goal {objective.goal})" if name == objective.metric else ""
            reached.append(f"{words} {getattr(self, name):.2f}{goal}")
        text = ", ".join(reached)
        text += f" over {self.settle_steps:,} constant steps, after {len(self)} warmup steps"
        if self.attempts > 1:
            text += f" in {self.attempts} attempts"
        if self.kept == 0:
            text += "; it brought no improvement, so the old weights were kept"
        if not self.trainable:
            left = f"{self.retained:.0e} is left of them"
            text += f"; it forgets the first halves of its sequences ({left}) and may not learn"
        return text

    def __len__(self) -> int:
        return len(self.history)

    def __getitem__(self, index: Any) -> Any:
        return self.history[index]


class Best:
    """The best weights among those that a warmup begins with and those that its attempts end with.

    Args:
        parameters: What the warmup moves, before it does.
        objective: What tells which are better.

    Attributes:
        found: The best measurement; None before the first.
        attempt: Number of the attempt that it is of, 0 for the weights from before.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], objective: Objective) -> None:
        self.found: Multistability | None = None
        self.attempt = 0
        self._parameters, self._objective = parameters, objective
        self._initial = self._weights = self._copies()

    @property
    def reaches_goal(self) -> bool:
        """Whether the best weights reach the objective's goal."""
        return self.found is not None and self._value(self.found) > self._objective.goal

    def begin(self) -> None:
        """Set the weights to those from before the warmup."""
        self._set(self._initial)

    def offer(self, attempt: int, found: Multistability) -> None:
        """Note the present weights, the end of an attempt, if they are better than all before."""
        if self.found is None or self._value(found) > self._value(self.found):
            self.found, self.attempt, self._weights = found, attempt, self._copies()

    def restore(self) -> None:
        """Set the weights to the best ones, those from before the warmup as long as nothing is found."""
        self._set(self._weights)

    def _value(self, found: Multistability) -> float:
        return float(getattr(found, self._objective.metric))

    def _copies(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def _set(self, weights: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, weights, strict=True):
            parameter.copy_(value)
