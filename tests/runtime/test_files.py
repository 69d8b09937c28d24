"""Files that are whole or not there."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lightning_warmup.runtime.files import write_json


def test_numbers_that_json_does_not_have_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1.5, math.nan, {"b": math.inf}], "c": "nan"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None, {"b": None}], "c": "nan"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
