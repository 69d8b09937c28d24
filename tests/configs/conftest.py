"""Overlays written for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def overlay(tmp_path: Path) -> Any:
    def write(text: str, name: str = "overlay.yaml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
