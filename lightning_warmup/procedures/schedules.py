"""How long states settle at each warmup step, and how the weights are moved meanwhile."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_warmup.dynamics.functional import REST_TOLERANCE
from lightning_warmup.procedures.objectives import Objective

ATTEMPT = 300
"""Steps of an adaptive attempt, at most: what has not settled by then seldom does."""
AFTER_PUBLISHED = 200
"""Steps of an attempt that follows the published one, at most."""
WORTHWHILE = 100
"""Steps that must be left for such an attempt: fewer seldom help."""
GOING_ON = 2
"""Such attempts that go on from the best weights so far; all others begin anew."""
JUDGED_AFTER = 150
"""Steps after which an adaptive attempt is judged, just before its learning rate falls."""
PROMISING = 50
"""Longest stabilisation below which an attempt is then hopeless: its states have collapsed or oscillate."""
LOOK_FROM, LOOK_EVERY = 50, 25
"""Steps of an attempt that follows the published one, before and between looks at whether the goal is reached."""
FIRST = 10.0
"""Longest stabilisation of the first adaptive step, in which most new networks still hold states apart."""
SHORTEST = 3.0
"""The longest stabilisation does not shrink below it: there VAA* has a gradient even after a collapse."""
GROWTH, SHRINKAGE = 1.15, 0.7
"""Factors of the longest stabilisation where states are held, and where not: away from a collapse at once."""
HELD_APART, OF_TARGET = 0.8, 0.85
"""States are held apart above this VAA* of the worst layer, or above this part of a low target."""


class Schedule:
    """The published schedule: a longest stabilisation that grows from 1, a steady learning rate, no clipping.

    A monostable network must be caught before its states have collapsed, since VAA* has no gradient there.

    Attributes:
        steps: Steps of the attempt, at most.
        most: Limit of the longest stabilisation.
        growth: Growth of the longest stabilisation with each step.
        longest: Longest stabilisation of the next step.
        hopeless: Whether the attempt should make way for another one.
        promising: Whether a look is worth it, which ends the attempt if the goal is reached.
        max_norm: Norm that gradients are clipped to.
    """

    max_norm: ClassVar[float] = math.inf

    def __init__(self, steps: int, most: int, growth: int = 0) -> None:
        self.steps, self.most, self.growth = steps, most, growth
        self.longest, self.hopeless, self.promising = 1.0, False, False

    def lr_factor(self, step: int) -> float:
        """Return the factor of the learning rate at a step of the attempt."""
        return 1.0

    def adapt(self, step: int, stabilization: int, vaa_star: float, unrest: float) -> None:
        """Prepare the next step from what this one saw.

        Args:
            step: Number of the step in its attempt, from 0.
            stabilization: Its stabilisation.
            vaa_star: VAA* of the layer where it is smallest.
            unrest: Unrest of the layer where it is largest.
        """
        self.longest = min(1 + self.growth * (step + 1), self.most)


class Adaptive(Schedule):
    """A stabilisation as long as the network can hold states apart; the learning rate falls in the second half.

    The longest stabilisation grows after a step that held states: every layer's VAA* was high, and as many steps
    again would not have taken the states far. It shrinks after any other. The learning rate falls tenfold in the
    second half, so that states settle. An attempt that is hopeless is given up if another one can follow in the
    steps that are left.

    Args:
        left: Steps that are left for this attempt and all others.
        most: Limit of the longest stabilisation.
        attempt: Steps of an attempt, at most.
        boldness: Factor of the learning rate throughout.
        target: Value that VAA* is drawn to.
        looks: Whether the attempt may end before its learning rate has fallen.
    """

    max_norm = 5.0

    def __init__(
        self,
        left: int,
        most: int,
        attempt: int = ATTEMPT,
        boldness: float = 1.0,
        target: float = 1.0,
        looks: bool = False,
    ) -> None:
        super().__init__(min(left, attempt), most)
        self._enough = min(HELD_APART, OF_TARGET * target)
        self.longest = min(FIRST, most)
        self._boldness, self._looks = boldness, looks
        self._another_can_follow = left >= JUDGED_AFTER + attempt

    def lr_factor(self, step: int) -> float:
        """Return the boldness in the first half of the attempt, then down to a tenth of it."""
        return self._boldness * 0.1 ** max(0.0, 2 * step / self.steps - 1)

    def adapt(self, step: int, stabilization: int, vaa_star: float, unrest: float) -> None:
        """Let the longest stabilisation grow or shrink."""
        held = vaa_star > self._enough and stabilization * REST_TOLERANCE ** (1 - unrest) < 1
        longest = GROWTH * self.longest if held else max(SHRINKAGE * self.longest, SHORTEST)
        self.longest = min(longest, self.most)
        due = step + 1 >= LOOK_FROM and (step + 1 - LOOK_FROM) % LOOK_EVERY == 0
        self.promising = self._looks and due and self.longest >= self.most
        collapsed = self.longest < min(PROMISING, self.most)
        self.hopeless = self._another_can_follow and step + 1 == JUDGED_AFTER and collapsed


def schedule_of(objective: Objective, left: int, attempt: int) -> Schedule:
    """Return the schedule of an attempt.

    The first one for an objective that is not adaptive is the published one. From the third attempt on the learning
    rate of an adaptive objective is twice as high: that holds states apart where the usual one fails, but leaves
    networks that are harder to train. Its attempts are never cut short: states come to rest at their end.

    Args:
        objective: What the warmup aims at.
        left: Steps that are left for this attempt and all others.
        attempt: Its number, from 1.
    """
    most, target = objective.max_stabilization, objective.target
    if objective.adaptive:
        return Adaptive(left, most, boldness=1.0 if attempt <= 2 else 2.0, target=target)
    if attempt > 1:
        return Adaptive(left, most, AFTER_PUBLISHED, target=target, looks=True)
    return Schedule(left, most, objective.stabilization_ramp)


def goes_on(objective: Objective, attempt: int) -> bool:
    """Return whether an attempt goes on from the best weights so far, or begins anew."""
    return not objective.adaptive and 1 < attempt <= 1 + GOING_ON


def least_worthwhile(objective: Objective) -> int:
    """Return the steps that must be left for a further attempt."""
    return ATTEMPT if objective.adaptive else WORTHWHILE
