"""Orthogonal recurrent matrices (Saxe et al., arXiv 1312.6120)."""

from __future__ import annotations

from typing import Any

from lightning_warmup.cells._gated import orthogonal_
from lightning_warmup.initialisations import recurrent_matrices


def initialise(cell: Any, t_max: int) -> None:
    """Make the recurrent matrix of every gate a random orthogonal one; the rest is the cell's default."""
    matrices = recurrent_matrices(cell, "orthogonal")
    cell.reset_parameters()
    for matrix in matrices:
        orthogonal_(matrix)
