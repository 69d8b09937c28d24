"""Sequential MNIST: an image, pixel by pixel."""

from torch import Tensor

from datamodules.mnist import MNISTDataModule


class SequentialMNIST(MNISTDataModule):
    """The 784 pixels of an image, row by row, then ``black_pixels`` pixels.

    A batch: sequences (B, 784 + P, 1), targets (B, 1), steps ``[783 + P]``.
    """

    input_size = 1

    def arrange(self, images: Tensor) -> Tensor:
        return images.flatten(1).unsqueeze(2)
