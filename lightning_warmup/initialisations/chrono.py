"""Chrono initialisation (Tallec and Ollivier, arXiv 1804.11188)."""

from __future__ import annotations

from typing import Any

import torch

from lightning_warmup.initialisations import gate_biases


def initialise(cell: Any, t_max: int) -> None:
    """Spread the time scales of the units up to t_max steps.

    The bias of the gate that keeps the state is log U with U ~ U[1, t_max - 1], for each unit. The gate that
    overwrites it, such as the input gate of an LSTM, gets minus that bias. Only one of torch's two bias vectors is
    set, since torch adds them. All other biases are zero; matrices are the cell's default.
    """
    keeps, *_ = gate_biases(cell, getattr(cell, "remember", None), "chrono")
    overwrites = gate_biases(cell, cell.overwrite, "chrono")[:1] if cell.overwrite is not None else []
    if t_max <= 2:
        raise ValueError(f"t_max={t_max}: must be greater than 2 for chrono")
    cell.reset_parameters()
    with torch.no_grad():
        for bias in (cell.bias_ih_l0, getattr(cell, "bias_hh_l0", None)):
            if bias is not None:
                bias.zero_()
        keeps.uniform_(1, t_max - 1).log_()
        for bias in overwrites:
            bias.copy_(-keeps)
