"""A folder with small files in place of those of MNIST."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from small_mnist import small_files

from datamodules import mnist


@pytest.fixture
def files(monkeypatch) -> dict[str, bytes]:
    files = small_files()
    monkeypatch.setattr(mnist, "HASHES", {name: hashlib.sha256(files[name]).hexdigest() for name in files})
    return files


@pytest.fixture
def root(files, tmp_path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder
