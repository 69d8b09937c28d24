"""MNIST (LeCun, Cortes and Burges 1998): its files, and its images as sequences, classified at their end."""

import gzip
import hashlib
import math
import os
import tempfile
import zlib
from abc import abstractmethod
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor
from torch.nn.functional import pad

from configs.data import MNIST
from datamodules.sequences import Batch, SequenceDataModule, SequenceDataset
from datamodules.streams import stream

# SHA-256 of the unpacked files: packing the same file again may change its hash.
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
# Order of the pixels in permuted images: the same in every run, and the same as the authors'.
PERMUTATION = torch.from_numpy(np.random.RandomState(42).permutation(28 * 28))
# Value of the appended pixels. Pixels are x / 255 - 0.5, so black is -0.5; the authors append grey.
PADDING = {"black": -0.5, "grey": 0.0}


class ImageSequences(SequenceDataset):
    """Images stored as bytes (N, T, I); a batch is (B, T + P, I) float32, with P appended steps."""

    def __init__(self, pixels: Tensor, labels: Tensor, appended: int, value: float) -> None:
        super().__init__(pixels, labels.unsqueeze(1), pixels.shape[1] + appended)
        self.padding, self.value = (0, 0, 0, appended), value

    def __getitem__(self, indices: list[int]) -> Batch:
        pixels, targets, steps = super().__getitem__(indices)
        return pad(pixels.float().div_(255).sub_(0.5), self.padding, value=self.value), targets, steps


class MNISTDataModule(SequenceDataModule):
    """Splits of MNIST; a benchmark is a subclass with one method, ``arrange``, which makes sequences from images.

    The seed divides the 60,000 training images into training and validation split; the test split is the same for
    every seed. A smaller split is a random subset.

    Raises:
        ValueError: If a file is missing and the folder can't be written to.
    """

    task, output_size, trivial_loss = "classification", 10, math.log(10)

    def __init__(self, settings: MNIST, seed: int = 0) -> None:
        sizes = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}
        super().__init__(settings, sizes, seed)
        check_folder(settings.root)
        self.root, self.black_pixels, self.padding = settings.root, settings.black_pixels, settings.padding
        self.holding_inputs = None
        if self.black_pixels:
            self.holding_inputs = torch.full((1, self.input_size), PADDING[self.padding])

    @abstractmethod
    def arrange(self, images: Tensor) -> Tensor:
        """Return images (N, 28, 28) as sequences (N, T, I), both uint8."""

    def prepare_data(self) -> None:
        """Download missing files; Lightning calls it in one process on each machine."""
        download(self.root)

    def make_split(self, name: str) -> ImageSequences:
        part, seed = ("t10k", 0) if name == "test" else ("train", self.seed)
        images, labels = load(self.root, part)
        shuffled = torch.randperm(len(images), generator=stream(seed, "MNIST", part))
        chosen = shuffled[-self.sizes[name] :] if name == "val" else shuffled[: self.sizes[name]]
        value = PADDING[self.padding]
        return ImageSequences(self.arrange(images[chosen]), labels[chosen], self.black_pixels, value)


def permuted(images: Tensor) -> Tensor:
    """Return the pixels (N, 784) of images (N, 28, 28) in the order of ``PERMUTATION``."""
    return images.flatten(1)[:, PERMUTATION]


def load(root: str | Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 28, 28) uint8 and labels (N,) int64 of ``"train"`` or ``"t10k"``; files may be gzipped.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is truncated or altered.
    """
    # The idx format: a header of 4 bytes and 4 for each dimension, then the values in C order.
    images, labels = (
        torch.frombuffer(bytearray(_checked(Path(root), f"{part}-{kind}-ubyte")), dtype=torch.uint8)[start:]
        for kind, start in [("images-idx3", 16), ("labels-idx1", 8)]
    )
    return images.view(-1, 28, 28), labels.long()


def check_folder(root: str | Path) -> None:
    """Raise a ValueError if a file is missing and the folder can't be written to."""
    folder = Path(root).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    if not writable and any(_find(folder, name) is None for name in HASHES):
        raise ValueError(
            f"data.root={str(root)!r}: must be a folder with the four MNIST files, or a writable one"
        )


def download(root: str | Path) -> None:
    """Download missing files into a folder, trying one mirror after the other.

    A new file is checked before it is moved to its place. Existing files are never touched.

    Raises:
        FileNotFoundError: If no mirror has a missing file; the message says which file to put where.
    """
    root = Path(root)
    while missing := [name for name in HASHES if _find(root, name) is None]:
        root.mkdir(parents=True, exist_ok=True)
        failures = []
        for mirror in MIRRORS:
            try:
                _fetch(mirror, missing[0], root)
                break
            except (OSError, ValueError) as error:
                failures.append(f"{mirror}: {type(error).__name__}")
        else:
            files = ", ".join(f"{name}.gz" for name in missing)
            raise FileNotFoundError(
                f"put {files} of MNIST into {root.resolve()}: the download failed ({'; '.join(failures)})"
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
    """Return the unpacked bytes of a file after a check of their hash."""
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
