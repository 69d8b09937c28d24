"""Recurrent cells. Every file here is one cell, of the file's name; a further file is a further cell.

A cell is a module with torch's call, ``output, h_n = cell(input, h_0)``, and with the constructor
``(input_size, hidden_size, bias=True, batch_first=False, device=None, dtype=None)``; most are subclasses of
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
    """Return the class of a cell: the one GatedCell, or the one module, that its file defines under a public name.

    Raises:
        ValueError: If there is no such file, or not exactly one such class in it.
    """
    file = part_file("cell", name, sys.modules[__name__])
    return part_class(file, f"cell={name!r}", GatedCell, nn.Module)
