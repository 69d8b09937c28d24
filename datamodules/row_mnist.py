"""Row MNIST: an image, 28 pixels per step."""

from torch import Tensor

from configs import data
from datamodules.mnist import MNISTDataModule, permuted


class RowMNIST(MNISTDataModule):
    """The 28 rows of an image, then ``black_pixels`` rows of 28 pixels.

    A batch: sequences (B, 28 + P, 28), targets (B, 1), steps ``[27 + P]``. ``rows="permuted"`` divides the 784
    permuted pixels into 28 steps, as the authors do; ``"natural"`` takes the rows of the original image.
    """

    input_size = 28

    def __init__(self, settings: data.RowMNIST, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.rows = settings.rows

    def arrange(self, images: Tensor) -> Tensor:
        return permuted(images).view_as(images) if self.rows == "permuted" else images
