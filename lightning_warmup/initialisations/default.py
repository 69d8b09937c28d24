"""The cell's own initialisation."""

from __future__ import annotations

from typing import Any


def initialise(cell: Any, t_max: int) -> None:
    """Draw the weights as the documentation of the cell says."""
    cell.reset_parameters()
