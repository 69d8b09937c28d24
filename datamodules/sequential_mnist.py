"""Sequential MNIST: an image, pixel by pixel."""

from __future__ import annotations

from torch import Tensor

from datamodules.image_sequences import MNISTDataModule


class SequentialMNIST(MNISTDataModule):
    """The 784 pixels of an image, row by row, then ``black_pixels`` pixels.

    A batch: sequences (B, 784 + P, 1), targets (B, 1), steps ``[783 + P]``.
    """

    input_size = 1

    def arrange(self, images: Tensor) -> Tensor:
        """Return the pixels (N, 784, 1) of images (N, 28, 28)."""
        return images.flatten(1).unsqueeze(2)
