"""Recurrent cells. Each file here is one cell, named after the file; a new file is a new cell.

A cell is a module that is called like torch's layers, ``output, h_n = cell(input, h_0)``, and has the constructor
``(input_size, hidden_size, bias=True, batch_first=False, device=None, dtype=None)``. Most cells are subclasses of
:class:`lightning_warmup.cells._gated.GatedCell`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from lightning_warmup.cells._gated import Gate, GatedCell
from lightning_warmup.cells.brc import BRC
from lightning_warmup.cells.gru import GRU
from lightning_warmup.cells.lstm import LSTM
from lightning_warmup.cells.mgu import MGU
from lightning_warmup.cells.nbrc import NBRC
from lightning_warmup.cells.rnn import RNN
from lightning_warmup.registry import part_class, part_file, part_names

__all__ = ["BRC", "GRU", "LSTM", "MGU", "NBRC", "RNN", "Gate", "GatedCell", "cell_by_name", "cell_names"]


def cell_names() -> list[str]:
    """Return the names of all cells: those of the files in this folder."""
    return part_names(Path(__file__).parent)


def cell_by_name(name: str) -> type[nn.Module]:
    """Return the class of a cell: the only public GatedCell in its file, or else the only public module.

    Raises:
        ValueError: If there is no such file, or it does not define exactly one.
    """
    file = part_file("cell", name, sys.modules[__name__])
    return part_class(file, f"cell={name!r}", GatedCell, nn.Module)
