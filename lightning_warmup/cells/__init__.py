"""Recurrent cells. Every file here is one cell, of the file's name; a further file is a further cell.

A cell is a module with torch's call, ``output, h_n = cell(input, h_0)``, and with the constructor
``(input_size, hidden_size, bias=True, batch_first=False, device=None, dtype=None)``; most are subclasses of
:class:`lightning_warmup.cells._gated.GatedCell`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from torch import nn

from lightning_warmup.cells._gated import Gate, GatedCell
from lightning_warmup.cells.brc import BRC
from lightning_warmup.cells.gru import GRU
from lightning_warmup.cells.lstm import LSTM
from lightning_warmup.cells.mgu import MGU
from lightning_warmup.cells.nbrc import NBRC
from lightning_warmup.cells.rnn import RNN

__all__ = ["BRC", "GRU", "LSTM", "MGU", "NBRC", "RNN", "Gate", "GatedCell", "cell_by_name", "cell_names"]


def cell_names() -> list[str]:
    """Return the names of all cells: those of the files in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def cell_by_name(name: str) -> type[nn.Module]:
    """Return the class of a cell: the one GatedCell, or the one module, that its file defines under a public name.

    Raises:
        ValueError: If there is no such file, or not exactly one such class in it.
    """
    if name not in cell_names():
        raise ValueError(f"cell={name!r}: choose one of {', '.join(cell_names())}")
    module = import_module(f"{__name__}.{name}")
    classes = {
        value for value in vars(module).values() if isinstance(value, type) and issubclass(value, nn.Module)
    }
    defined = {c for c in classes if c.__module__ == module.__name__ and not c.__name__.startswith("_")}
    cells = {c for c in defined if issubclass(c, GatedCell)} or defined
    if len(cells) != 1:
        found = ", ".join(sorted(c.__name__ for c in cells)) or "none"
        raise ValueError(f"cell={name!r}: {module.__file__} must define one cell class, not {found}")
    return cells.pop()
