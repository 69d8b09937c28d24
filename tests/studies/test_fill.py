"""The CSV file that a study's command fills."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_warmup.runtime.files import read_rows
from studies.fill import fill


def test_a_stopped_command_goes_on_from_its_last_row(tmp_path: Path) -> None:
    measured: list[tuple[str, int]] = []

    def measure(cell: str, seed: int) -> dict[str, float]:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append((cell, seed))
        return {"vaa": seed + 0.5}

    path, cases = tmp_path / "rows.csv", [("gru", 0), ("gru", 1), ("lstm", 0)]
    with pytest.raises(KeyboardInterrupt):
        fill(path, ["cell", "seed"], cases, measure)
    kept, measured[:] = measured.copy(), []
    rows = fill(path, ["cell", "seed"], cases, measure)
    assert (kept, measured) == (cases[:2], cases[2:])
    assert rows == read_rows(path)
    assert rows[1] == {"cell": "gru", "seed": "1", "vaa": "1.5"}
