"""Identity recurrent matrices (Le et al., arXiv 1504.00941)."""

from __future__ import annotations

from typing import Any

from torch import nn

from lightning_warmup.initialisations import recurrent_matrices


def initialise(cell: Any, t_max: int) -> None:
    """Make the recurrent matrix of every gate the identity; the rest is the cell's default.

    At first, units do not interact; an NBRC starts as a BRC.
    """
    matrices = recurrent_matrices(cell, "identity")
    cell.reset_parameters()
    for matrix in matrices:
        nn.init.eye_(matrix)
