"""What procedures share: checks of their settings, and parameters that stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


def check_steps_and_lr(steps: int, lr: float) -> None:
    """Check the number of gradient steps and their learning rate.

    Raises:
        ValueError: If one is out of range.
    """
    if not steps >= 1:
        raise ValueError(f"steps={steps}: must be at least 1")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr={lr}: must be a number above 0")


@contextmanager
def no_gradients_for(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Switch the gradients of ``parameters`` off and back on."""
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
