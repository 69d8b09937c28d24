"""A bias towards remembering (Gers et al., 2000; Jozefowicz et al., 2015)."""

from __future__ import annotations

from typing import Any

import torch

from lightning_warmup.engine.gates import gate_weights


def initialise(cell: Any, t_max: int) -> None:
    """Sets the bias of the gate that keeps the state to 1; the rest is the cell's default.

    Where the cell only has a gate that overwrites the state, its bias is -1. A second bias is set to 0.
    """
    gate, value = (cell.remember, 1.0) if cell.remember is not None else (cell.overwrite, -1.0)
    if gate is None:
        raise ValueError(f"init='forget_bias': {type(cell).__name__} has no gate that keeps its state")
    if not cell.bias:
        raise ValueError("init='forget_bias': it sets a bias, so the cell must have bias=True")
    cell.reset_parameters()
    weights: Any = gate_weights(cell)[gate]
    with torch.no_grad():
        weights.bias_ih.fill_(value)
        if weights.bias_hh is not None:
            weights.bias_hh.zero_()
