"""Orthogonal recurrent matrices (Saxe et al., arXiv 1312.6120)."""

from __future__ import annotations

from typing import Any

from lightning_warmup.cells._gated import orthogonal_
from lightning_warmup.engine.gates import gate_weights


def initialise(cell: Any, t_max: int) -> None:
    """Makes the recurrent matrix of every gate a random orthogonal one; the rest is the cell's default."""
    matrices = [weights.weight_hh for weights in gate_weights(cell).values() if weights.weight_hh is not None]
    if not matrices:
        raise ValueError(f"init='orthogonal': {type(cell).__name__} has no recurrent matrix")
    cell.reset_parameters()
    for matrix in matrices:
        orthogonal_(matrix)
