"""Files that are whole or not there."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lightning_warmup.runtime.files import append_rows, read_rows, write_json, write_rows


def test_numbers_that_json_does_not_have_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1.5, math.nan, {"b": math.inf}], "c": "nan"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None, {"b": None}], "c": "nan"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_rows_are_read_as_they_were_written_but_for_one_that_was_cut_off(tmp_path: Path) -> None:
    path, columns = tmp_path / "a.csv", ["a", "b"]
    assert read_rows(path) == []
    write_rows(path, columns, [{"a": 1}, {"a": 2, "b": "x, y"}])
    append_rows(path, columns, [{"b": 3}])
    with path.open("a") as file:
        file.write("4")
    assert read_rows(path) == [{"a": "1"}, {"a": "2", "b": "x, y"}, {"b": "3"}]
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
