"""A CSV file of measurements, which grows row by row; a command that was stopped goes on from its last row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lightning_warmup.runtime.files import Row, read_rows, write_rows


def fill(
    path: Path,
    names: Sequence[str],
    cases: Iterable[Sequence[Any]],
    measure: Callable[..., Mapping[str, Any]],
) -> list[Row]:
    """Measure each case that has no row yet, and return all rows.

    Args:
        path: The CSV file.
        names: Its first columns, which tell the cases apart.
        cases: Values of these columns, one case after another.
        measure: Takes a case's values as arguments; returns the other columns.
    """
    rows = read_rows(path)
    done = {tuple(row[name] for name in names) for row in rows}
    for case in tqdm([case for case in cases if tuple(map(str, case)) not in done]):
        found = dict(zip(names, case, strict=True)) | dict(measure(*case))
        rows.append({name: str(value) for name, value in found.items()})
        write_rows(path, list(found), rows)
    return rows
