"""A part of a page, and the names of procedures in its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

NONE, WARM, DOUBLE = "without warmup", "with warmup", "with warmup, double layer"
REST, CHRONO = "with warmup for rest", "chrono initialisation"
TASK = ("benchmark", "cell")


class Section(NamedTuple):
    """A part of a page: its heading, a few sentences, and its tables and figures in their order."""

    title: str
    text: str
    parts: Sequence[str | Path | None] = ()
