"""Copy first input: at the last step, output the first step of the sequence."""

import torch
from torch import Tensor

from configs import data
from datamodules.generated import GeneratedDataModule


class CopyFirstInput(GeneratedDataModule):
    """Noise of N(0, 1); the target is the first step (Lambrechts et al. 2023).

    A batch: sequences (B, T, I), targets (B, 1, I), steps ``[T - 1]``.
    """

    task, trivial_loss = "regression", 1.0

    def __init__(self, settings: data.CopyFirstInput, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.input_size = self.output_size = settings.input_size

    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        sequences = torch.randn(n, length, self.output_size, generator=generator)
        return sequences, sequences[:, :1].clone()
