"""Orthogonal recurrent matrices (Saxe et al., arXiv 1312.6120)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.engine.gates import gate_weights


def orthogonal_(matrix: Tensor) -> None:
    """Fills a matrix with a random orthogonal one, in half precision too, which torch's own function refuses."""
    precise = torch.empty_like(matrix, dtype=torch.promote_types(matrix.dtype, torch.float32))
    with torch.no_grad():
        matrix.copy_(nn.init.orthogonal_(precise))


def initialise(cell: Any, t_max: int) -> None:
    """Makes the recurrent matrix of every gate a random orthogonal one; the rest is the cell's default."""
    matrices = [weights.weight_hh for weights in gate_weights(cell).values() if weights.weight_hh is not None]
    if not matrices:
        raise ValueError(f"init='orthogonal': {type(cell).__name__} has no recurrent matrix")
    cell.reset_parameters()
    for matrix in matrices:
        orthogonal_(matrix)
