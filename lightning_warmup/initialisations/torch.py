"""The initialisation of torch's recurrent layers."""

from __future__ import annotations

import math
from typing import Any

from torch import nn


def initialise(cell: Any, t_max: int) -> None:
    """Draw every weight and bias from U(-1/sqrt(H), 1/sqrt(H))."""
    bound = 1 / math.sqrt(cell.hidden_size)
    for weight in cell.parameters():
        nn.init.uniform_(weight, -bound, bound)
