"""Permuted MNIST: the pixels of an image in a random order."""

from torch import Tensor

from datamodules.mnist import MNISTDataModule, permuted


class PermutedMNIST(MNISTDataModule):
    """The 784 pixels of an image in one fixed random order, then ``black_pixels`` pixels.

    A batch: sequences (B, 784 + P, 1), targets (B, 1), steps ``[783 + P]``.
    """

    input_size = 1

    def arrange(self, images: Tensor) -> Tensor:
        return permuted(images).unsqueeze(2)
