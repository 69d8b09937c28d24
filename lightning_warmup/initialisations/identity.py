"""Identity recurrent matrices (Le et al., arXiv 1504.00941)."""

from __future__ import annotations

from typing import Any

from torch import nn

from lightning_warmup.engine.gates import gate_weights


def initialise(cell: Any, t_max: int) -> None:
    """Makes the recurrent matrix of every gate the identity; the rest is the cell's default.

    Units then start without seeing one another; an NBRC starts as a BRC.
    """
    matrices = [weights.weight_hh for weights in gate_weights(cell).values() if weights.weight_hh is not None]
    if not matrices:
        raise ValueError(f"init='identity': {type(cell).__name__} has no recurrent matrix")
    cell.reset_parameters()
    for matrix in matrices:
        nn.init.eye_(matrix)
