"""Small files in place of those of MNIST."""

from __future__ import annotations

import struct

import numpy as np

COUNTS = {"train": 60, "t10k": 24}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def small_files() -> dict[str, bytes]:
    """Files as those of MNIST, each image with its index in the last pixel and a label of index mod 10."""
    rng = np.random.default_rng(0)
    files = {}
    for part, count in COUNTS.items():
        images = rng.integers(256, size=(count, 28, 28), dtype=np.uint8)
        images[:, 27, 27] = np.arange(count)
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files
