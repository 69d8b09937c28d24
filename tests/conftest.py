"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the test workers share the cores; before torch is imported

from command import SMALL, Command


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put whole runs first: at the end, one of them would leave the other worker without work."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def train() -> Command:
    return Command()


@pytest.fixture(scope="session")
def whole_run(train: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small run from beginning to end: its folder and its output."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    output, _ = train(f"run_dir={folder}", *SMALL)
    return folder, output
