"""Tables of numbers in CSV files, as their rows."""

from __future__ import annotations

import csv
from pathlib import Path

Row = dict[str, str]
"""A row by the names of its columns."""


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file, without their empty fields; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
