"""Chrono initialisation (Tallec and Ollivier, arXiv 1804.11188)."""

from __future__ import annotations

from typing import Any

import torch

from lightning_warmup.cells import GRU, LSTM
from lightning_warmup.engine.gates import gate_weights


def initialise(cell: Any, t_max: int) -> None:
    """Spreads the time scales of the units up to t_max steps.

    The bias of the gate that keeps the state is log U with U ~ U[1, t_max - 1], for each unit; the bias of
    the input gate of an LSTM is minus that. They lie in one bias vector, since torch adds the two. All other
    biases are zero; matrices are the cell's default.
    """
    if not isinstance(cell, (GRU, LSTM)):
        raise ValueError(f"init='chrono': it is made for lstm and gru, not for {type(cell).__name__}")
    if not cell.bias:
        raise ValueError("init='chrono': it sets biases, so the cell must have bias=True")
    if t_max <= 2:
        raise ValueError(f"t_max={t_max}: chrono needs more than 2 steps")
    cell.reset_parameters()
    weights: Any = gate_weights(cell)
    with torch.no_grad():
        for parts in weights.values():
            for bias in (parts.bias_ih, parts.bias_hh):
                if bias is not None:
                    bias.zero_()
        remember = weights[cell.remember].bias_ih.uniform_(1, t_max - 1).log_()
        if cell.overwrite is not None:
            weights[cell.overwrite].bias_ih.copy_(-remember)
