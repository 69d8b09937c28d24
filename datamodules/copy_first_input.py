"""Copy first input: give back at the last step what was seen at the first."""

from typing import Any

import torch
from torch import Tensor

from datamodules.restitution import RestitutionDataModule


class CopyFirstInput(RestitutionDataModule):
    """Independent draws of N(0, 1) whose target is the first step (Lambrechts et al. 2023).

    A batch: sequences (B, T, I), targets (B, 1, I), steps ``[T - 1]``. The settings are those of
    :class:`RestitutionDataModule`; T is at least 2.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(shortest=2, **settings)

    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        sequences = torch.randn(n, length, self.output_size, generator=generator)
        return sequences, sequences[:, :1].clone()
