"""How long states settle at each warmup step, and how the weights are moved meanwhile."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from lightning_warmup.dynamics.functional import REST_TOLERANCE

ATTEMPT = 300
"""Steps of an attempt of the adaptive schedule, at most."""
TRIAL = 150
"""Steps after which an attempt is judged."""


class Ramp:
    """The published schedule: a stabilisation that grows from 1 step, a steady learning rate, no clipping.

    A monostable network must be caught before its states have collapsed, since VAA* has no gradient there.

    Args:
        steps: Number of steps.
        most: Longest stabilisation.
        growth: Growth of the longest stabilisation with each step.
    """

    max_norm: ClassVar[float] = math.inf
    hopeless: ClassVar[bool] = False

    def __init__(self, steps: int, most: int, growth: int) -> None:
        self.steps = steps
        self.most = most
        self.growth = growth
        self.longest = 1.0

    def rate(self, step: int) -> float:
        """Factor of the learning rate at a step."""
        return 1.0

    def adapt(self, step: int, stars: Tensor, unrests: Tensor, stabilization: int) -> bool:
        """Prepares the next step by what this one saw; returns whether it is time to look at the goal."""
        self.longest = min(1 + self.growth * (step + 1), self.most)
        return False


class Adaptive:
    """A stabilisation as long as the network can hold its states apart; the learning rate falls at the end.

    The longest stabilisation begins at 10 steps. It grows by 15 % after a step at which every layer's VAA* was
    above 0.8 and as many steps again would not have taken the states far; it shrinks by 30 % after any other, down
    to 3: states that have collapsed are caught again where VAA* still has a gradient. The learning rate falls
    tenfold in the second half, so that states settle. Gradients are clipped to a norm of 5.

    An attempt takes 300 steps at most. One whose stabilisation has not come to 50 steps after 150, by a collapse
    or an oscillation, is hopeless if the steps that are left are enough for another one.

    Args:
        left: Number of steps that are left.
        most: Longest stabilisation.

    Attributes:
        steps: Steps of this attempt at most.
        longest: Longest stabilisation of the next step.
        hopeless: Whether another attempt should be made instead.
    """

    max_norm: ClassVar[float] = 5.0

    def __init__(self, left: int, most: int) -> None:
        self.steps = min(left, ATTEMPT)
        self.most = most
        self.longest = min(10.0, most)
        self.hopeless = False
        self._may_give_up = left >= TRIAL + ATTEMPT

    def rate(self, step: int) -> float:
        """Factor of the learning rate at a step of the attempt."""
        return 0.1 ** max(0.0, 2 * step / self.steps - 1)

    def adapt(self, step: int, stars: Tensor, unrests: Tensor, stabilization: int) -> bool:
        """Prepares the next step by what this one saw; returns whether it is time to look at the goal.

        It is at the last step, and from step 100 on at every 25th at which the states are held.
        """
        drift = stabilization * REST_TOLERANCE ** (1 - unrests.max().item())
        held = stars.min().item() > 0.8 and drift < 1
        self.longest = min(1.15 * self.longest if held else max(0.7 * self.longest, 3.0), self.most)
        number = step + 1
        self.hopeless = self._may_give_up and number == TRIAL and self.longest < min(50, self.most)
        return number == self.steps or (held and number >= 100 and number % 25 == 0)
