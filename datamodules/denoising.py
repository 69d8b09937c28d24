"""Denoising: at the end, output the five marked values of a noisy sequence in their order."""

import torch
from torch import Tensor

from configs import data
from datamodules.generated import GeneratedDataModule
from datamodules.streams import stream

MARKS = 5  # values to remember, and steps of the answer


class Denoising(GeneratedDataModule):
    """Noise of N(0, 1) with five marked steps; the targets are their values (Lambrechts et al. 2023).

    The last channel is the marker. It is +1 at five distinct steps, uniform over the first ``T - pad_length``; -1
    at step T - 5, where the answers begin; and 0 elsewhere. The noise continues during the answers.

    A batch: sequences (B, T, input_size + 1), targets (B, 5, input_size), steps ``[T - 5, ..., T - 1]``. Here
    ``input_size`` is the setting, the channels of noise; the attribute ``input_size`` also counts the marker.

    Attributes:
        holding_inputs: Inputs (256, input_size + 1) during which the network must remember: noise without a mark.
    """

    task, trivial_loss = "regression", 1.0

    def __init__(self, settings: data.Denoising, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.pad_length, self.output_size = settings.pad_length, settings.input_size
        self.input_size = self.output_size + 1
        noise = torch.randn(
            256, self.output_size, generator=stream(self.seed, type(self).__name__, "holding")
        )
        self.holding_inputs = torch.cat([noise, torch.zeros(256, 1)], dim=1)

    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        values = torch.randn(n, length, self.output_size, generator=generator)
        # The places of the five largest of independent uniform keys are a uniform draw without replacement.
        keys = torch.rand(n, length - self.pad_length, generator=generator)
        marked = keys.topk(MARKS).indices.sort().values.unsqueeze(2)
        marker = torch.zeros(n, length, 1).scatter_(1, marked, 1.0)
        marker[:, length - MARKS] = -1.0
        targets = values.gather(1, marked.expand(-1, -1, self.output_size))
        return torch.cat([values, marker], dim=2), targets
