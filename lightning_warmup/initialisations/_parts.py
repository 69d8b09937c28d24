"""The parts of a cell that an initialisation is about."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_warmup.engine.gates import gate_weights


def recurrent_matrices(cell: Any, init: str) -> list[Tensor]:
    """Return the recurrent matrices, gate by gate, or raise a ValueError if there is none."""
    matrices = [weights.weight_hh for weights in gate_weights(cell).values() if weights.weight_hh is not None]
    if not matrices:
        raise ValueError(f"init={init!r}: {type(cell).__name__} has no recurrent matrix")
    return matrices


def gate_biases(cell: Any, gate: str | None, init: str) -> list[Tensor]:
    """Return the biases of a gate, one or two, or raise a ValueError if there is none."""
    if gate is None:
        raise ValueError(f"init={init!r}: {type(cell).__name__} has no gate that keeps its state")
    weights = gate_weights(cell)[gate]
    biases = [bias for bias in (weights.bias_ih, weights.bias_hh) if bias is not None]
    if not biases:
        raise ValueError(f"init={init!r}: it sets the bias of gate {gate}, so the cell must have bias=True")
    return biases
