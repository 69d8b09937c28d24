"""Tables: read from CSV, written in Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]
"""A row by the names of its columns."""


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file, without empty fields and comments; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = (line for line in file if not line.startswith("#"))
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(lines)]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; columns without any entry are left out."""
    there = [at for at in range(len(header)) if any(row[at] for row in rows)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line[at] for at in there)} |" for line in lines)
