"""A bias towards remembering (Gers et al., 2000; Jozefowicz et al., 2015)."""

from __future__ import annotations

from typing import Any

from torch import nn

from lightning_warmup.initialisations import gate_biases


def initialise(cell: Any, t_max: int) -> None:
    """Set the bias of the gate that keeps the state to 1; the rest is the cell's default.

    If the cell only has a gate that overwrites the state, set its bias to -1. A second bias becomes 0.
    """
    gate, value = (cell.remember, 1.0) if cell.remember is not None else (cell.overwrite, -1.0)
    first, *second = gate_biases(cell, gate, "forget_bias")
    cell.reset_parameters()
    nn.init.constant_(first, value)
    for bias in second:
        nn.init.zeros_(bias)
