"""Recurrent cells. Every file here is one cell, of the file's name; a further file is a further cell.

A cell is a module with torch's call, ``output, h_n = cell(input, h_0)``, and with the constructor
``(input_size, hidden_size, bias=True, batch_first=False, device=None, dtype=None)``; most are subclasses of
:class:`lightning_warmup.cells._gated.GatedCell`.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from torch import nn

from lightning_warmup.cells.brc import BRC
from lightning_warmup.cells.gru import GRU
from lightning_warmup.cells.lstm import LSTM
from lightning_warmup.cells.mgu import MGU
from lightning_warmup.cells.nbrc import NBRC
from lightning_warmup.cells.rnn import RNN

__all__ = ["BRC", "GRU", "LSTM", "MGU", "NBRC", "RNN", "cell_by_name", "cell_names"]


def cell_names() -> list[str]:
    """Returns the names of all cells: those of the files in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def cell_by_name(name: str) -> type[nn.Module]:
    """Returns the class of a cell, for instance ``MinGRU`` of min_gru.py for "min_gru".

    Raises:
        ValueError: if there is no such file, or no such class in it.
    """
    if name not in cell_names():
        raise ValueError(f"cell={name!r}: choose one of {', '.join(cell_names())}")
    module = import_module(f"{__name__}.{name}")
    for key, cell in vars(module).items():
        if re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower() == name and isinstance(cell, type):
            return cell
    raise ValueError(
        f"cell={name!r}: {module.__file__} must define a class whose name in snake case is {name}"
    )
