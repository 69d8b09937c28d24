"""The four files of MNIST (LeCun, Cortes and Burges 1998), downloaded, checked by their hashes, and read."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from pathlib import Path

import pooch
import torch
from torch import Tensor

# SHA-256 of the unpacked files: packed anew, the same file has another hash.
HASHES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://yann.lecun.com/exdb/mnist/",
)

TRAINING_IMAGES, TEST_IMAGES = 60_000, 10_000


def load(root: str | Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 28, 28) uint8 and labels (N,) int64.

    Args:
        root: Folder of the files, each packed (``.gz``) or unpacked.
        part: ``"train"`` (60,000 images) or ``"t10k"`` (10,000).

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is truncated or altered.
    """
    # The idx format: a header of 4 bytes and 4 for each dimension, then the values in C order.
    images, labels = (
        torch.frombuffer(
            bytearray(_checked(Path(root), f"{part}-{kind}-ubyte")), dtype=torch.uint8, offset=start
        )
        for kind, start in [("images-idx3", 16), ("labels-idx1", 8)]
    )
    return images.view(-1, 28, 28), labels.long()


def download(root: str | Path) -> None:
    """Download the files that are missing in a folder, trying one mirror after the other.

    A file is checked before it takes its place; a file that is there is never touched.

    Raises:
        FileNotFoundError: If no mirror gives a missing file; the message says what to put where.
    """
    root = Path(root)
    missing = [name for name in HASHES if _find(root, name) is None]
    for done, name in enumerate(missing):
        root.mkdir(parents=True, exist_ok=True)
        failures = []
        for mirror in MIRRORS:
            try:
                _fetch(mirror, name, root)
                break
            except (OSError, ValueError) as error:
                failures.append(f"{mirror}: {type(error).__name__}")
        else:
            files = ", ".join(f"{name}.gz" for name in missing[done:])
            raise FileNotFoundError(
                f"put {files} of MNIST into {root.resolve()}: no download ({'; '.join(failures)})"
            )


def _fetch(mirror: str, name: str, root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        packed = Path(folder) / f"{name}.gz"
        pooch.HTTPDownloader(progressbar=True)(f"{mirror}{packed.name}", str(packed), None)
        _checked(Path(folder), name)
        os.replace(packed, root / packed.name)


def _find(root: Path, name: str) -> Path | None:
    return next((path for path in (root / f"{name}.gz", root / name) if path.is_file()), None)


def _checked(root: Path, name: str) -> bytes:
    """Return the unpacked bytes of a file, if they are the original ones."""
    path = _find(root, name)
    if path is None:
        raise FileNotFoundError(f"{name}.gz of MNIST is missing in {root.resolve()}: call prepare_data()")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or altered, it does not unpack ({error}); remove it") from None
    if hashlib.sha256(content).hexdigest() != HASHES[name]:
        raise ValueError(f"{path}: truncated or altered, its hash is not that of {name} of MNIST; remove it")
    return content
