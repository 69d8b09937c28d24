"""MNIST images as sequences of pixels or rows, to be classified at the last step."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from datamodules import mnist
from datamodules.sequences import Batch, SequenceDataModule, SequenceDataset, check_positive
from datamodules.streams import stream

# Order of the pixels in permuted images: the same in every run, and that of the authors of the benchmark.
PERMUTATION = torch.from_numpy(np.random.RandomState(42).permutation(28 * 28))

# Value of the appended pixels. Pixels are x / 255 - 0.5, so that black is -0.5; the authors append a grey.
PADDING = {"black": -0.5, "grey": 0.0}


class ImageSequences(SequenceDataset):
    """Images that stay bytes (N, T, I) until a batch of them, (B, T + P, I) float32, is asked for."""

    def __init__(self, pixels: Tensor, labels: Tensor, appended: int, value: float) -> None:
        super().__init__(pixels, labels.unsqueeze(1), pixels.shape[1] + appended)
        self.padding = (0, 0, 0, appended)
        self.value = value

    def __getitem__(self, indices: list[int]) -> Batch:
        pixels, targets, steps = super().__getitem__(indices)
        return pad(pixels.float().div_(255).sub_(0.5), self.padding, value=self.value), targets, steps


class MNISTDataModule(SequenceDataModule):
    """Splits of MNIST; a benchmark is a subclass with one method, ``arrange``: an image becomes a sequence.

    Training and validation split are drawn by the seed from the 60,000 training images, the test split is the
    same for every seed. A smaller split is a random part of the whole one.

    Args:
        root: Folder of the four files; those that are missing are downloaded there.
        black_pixels: P, steps appended to the image, through which the network has to remember.
        padding: Appended pixels: ``"black"``, or ``"grey"``, the 0.0 that the authors of the benchmark append.
        train_size, val_size: Images in the training and validation split, together at most 60,000.
        test_size: Images in the test split, at most 10,000.
        batch_size: Images in a global training batch.
        seed: Seed of training and validation split and of the order of the batches.

    Raises:
        ValueError: If a size is below 1 or there are not as many images, or the padding is unknown.
    """

    task = "classification"
    output_size = 10
    trivial_loss = math.log(10)

    def __init__(
        self,
        *,
        root: str = "data/mnist",
        black_pixels: int = 5,
        padding: Literal["black", "grey"] = "black",
        train_size: int = 48_000,
        val_size: int = 12_000,
        test_size: int = 10_000,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        check_positive(train_size=train_size, val_size=val_size, test_size=test_size)
        if train_size + val_size > mnist.TRAINING_IMAGES:
            total = train_size + val_size
            raise ValueError(f"train_size + val_size = {total}: MNIST has 60000 training images")
        if test_size > mnist.TEST_IMAGES:
            raise ValueError(f"test_size={test_size}: MNIST has 10000 test images")
        if black_pixels < 0:
            raise ValueError(f"black_pixels={black_pixels}: must be at least 0")
        if padding not in PADDING:
            raise ValueError(f"padding={padding!r}: choose one of {', '.join(PADDING)}")
        self.root = root
        self.black_pixels = black_pixels
        self.padding = padding
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}

    @abstractmethod
    def arrange(self, images: Tensor) -> Tensor:
        """Return images (N, 28, 28) as sequences (N, T, I), both uint8."""

    def prepare_data(self) -> None:
        """Download the files that are missing; Lightning calls it in one process of each machine."""
        mnist.download(self.root)

    def make_split(self, name: str) -> ImageSequences:
        """Read the files and take the images of a split."""
        part, seed = ("t10k", 0) if name == "test" else ("train", self.seed)
        images, labels = mnist.load(self.root, part)
        shuffled = torch.randperm(len(images), generator=stream(seed, "MNIST", part))
        chosen = shuffled[-self.sizes[name] :] if name == "val" else shuffled[: self.sizes[name]]
        pixels = self.arrange(images[chosen])
        return ImageSequences(pixels, labels[chosen], self.black_pixels, PADDING[self.padding])


def permuted(images: Tensor) -> Tensor:
    """Return the pixels (N, 784) of images (N, 28, 28) in the order of ``PERMUTATION``."""
    return images.flatten(1)[:, PERMUTATION]
