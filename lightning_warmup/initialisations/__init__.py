"""Initialisations of recurrent cells by name. Each file here is one, a function ``initialise(cell, t_max)``.

They draw from torch's global random stream, like the constructors of torch's modules.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_warmup.engine.gates import gate_weights
from lightning_warmup.registry import part_file, part_names


def names() -> list[str]:
    """Return the names of all initialisations: the files in this folder."""
    return part_names(Path(__file__).parent)


def initialise(cell: nn.Module, name: str = "default", t_max: int = 600) -> None:
    """Draw the weights of a cell anew.

    Args:
        cell: A cell of :mod:`lightning_warmup.cells`. Other modules allow only "default", which changes nothing.
        name: The initialisation, one of ``names()``.
        t_max: Longest time scale in steps, greater than 2; only "chrono" uses it.

    Raises:
        ValueError: If there is no such initialisation, or the cell lacks the weights that it sets.
    """
    module = part_file("init", name, sys.modules[__name__])
    if hasattr(cell, "gates"):
        if not hasattr(module, "initialise"):
            raise ValueError(f"init={name!r}: {module.__file__} must define initialise(cell, t_max)")
        module.initialise(cell, t_max)
    elif name != "default":
        raise ValueError(f"init={name!r}: must be 'default', since {type(cell).__name__} has no named gates")


def recurrent_matrices(cell: Any, init: str) -> list[Tensor]:
    """Return the recurrent matrices, gate by gate, or raise a ValueError if there are none."""
    matrices = [weights.weight_hh for weights in gate_weights(cell).values() if weights.weight_hh is not None]
    if not matrices:
        raise ValueError(f"init={init!r}: {type(cell).__name__} has no recurrent matrix")
    return matrices


def gate_biases(cell: Any, gate: str | None, init: str) -> list[Tensor]:
    """Return the one or two biases of a gate, or raise a ValueError if there are none."""
    if gate is None:
        raise ValueError(f"init={init!r}: {type(cell).__name__} has no gate that keeps its state")
    weights = gate_weights(cell)[gate]
    biases = [bias for bias in (weights.bias_ih, weights.bias_hh) if bias is not None]
    if not biases:
        raise ValueError(f"init={init!r}: it sets the bias of gate {gate}, so the cell must have bias=True")
    return biases
