"""Initialisations of recurrent cells by name. Every file here is one, a function ``initialise(cell, t_max)``.

They draw from torch's global random stream, as the constructors of torch's modules do.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from torch import nn


def names() -> list[str]:
    """Return the names of all initialisations: those of the files in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def initialise(cell: nn.Module, name: str = "default", t_max: int = 600) -> None:
    """Draw the weights of a cell anew.

    Args:
        cell: A cell of :mod:`lightning_warmup.cells`; other modules take "default", which leaves them alone.
        name: The initialisation, one of ``names()``.
        t_max: Longest time scale in steps, greater than 2; matters to "chrono" only.

    Raises:
        ValueError: If there is no such initialisation, or the cell lacks what it is about.
    """
    if name not in names():
        raise ValueError(f"init={name!r}: choose one of {', '.join(names())}")
    if hasattr(cell, "gates"):
        import_module(f"{__name__}.{name}").initialise(cell, t_max)
    elif name != "default":
        raise ValueError(f"init={name!r}: must be 'default', since {type(cell).__name__} names no gates")
