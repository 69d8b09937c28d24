"""Row MNIST: an image, 28 pixels in a step."""

from typing import Any, Literal

from torch import Tensor

from datamodules.mnist import MNISTDataModule, permuted


class RowMNIST(MNISTDataModule):
    """The 28 rows of an image, then ``black_pixels`` rows of 28 pixels.

    A batch: sequences (B, 28 + P, 28), targets (B, 1), steps ``[27 + P]``.

    Args:
        rows: ``"permuted"`` cuts the 784 permuted pixels into 28 steps, as the authors of the benchmark do;
            ``"natural"`` takes the rows of the image.
        settings: Settings of :class:`MNISTDataModule`.
    """

    input_size = 28

    def __init__(self, *, rows: Literal["permuted", "natural"] = "permuted", **settings: Any) -> None:
        super().__init__(**settings)
        if rows not in ("permuted", "natural"):
            raise ValueError(f"rows={rows!r}: choose one of permuted, natural")
        self.rows = rows

    def arrange(self, images: Tensor) -> Tensor:
        return permuted(images).view_as(images) if self.rows == "permuted" else images
