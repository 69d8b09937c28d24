"""A folder with small files in place of those of MNIST, and a file of sequences."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
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


@pytest.fixture
def series(tmp_path) -> Path:
    """A file of 100 sequences with mean 0 and variance 1: normalised by whichever of them, they stay the same."""
    rng = np.random.default_rng(0)
    x = rng.permuted(np.tile([[[-1.0], [1.0]] * 4], (100, 1, 2)), axis=1)
    np.savez(tmp_path / "series.npz", x=x, y=np.arange(100) % 3)
    return tmp_path / "series.npz"
