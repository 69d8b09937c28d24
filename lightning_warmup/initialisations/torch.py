"""The initialisation of torch's recurrent layers."""

from __future__ import annotations

from typing import Any

from lightning_warmup.cells._gated import uniform_


def initialise(cell: Any, t_max: int) -> None:
    """Draw every weight and bias from U(-1/sqrt(H), 1/sqrt(H))."""
    uniform_(cell)
