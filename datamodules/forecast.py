"""Forecast: at the last step, predict the next values of a seasonal series with trend and noise."""

import math

import torch
from torch import Tensor

from configs import data
from datamodules.generated import GeneratedDataModule

HARMONICS = (1.0, 0.5)  # amplitudes of the season and of its double frequency


class Forecast(GeneratedDataModule):
    """Series y_t = level + slope (t - T) / T + season_t + noise_t; the network reads T values.

    Each series draws its level and slope from N(0, 1) and the phases of its season uniformly. The targets are the
    next ``horizon`` values with their noise, so the least loss is its variance, ``noise ** 2``.

    A batch: sequences (B, T, 1), targets (B, 1, horizon), steps ``[T - 1]``.
    """

    task = "regression"

    def __init__(self, settings: data.Forecast, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.period, self.noise = settings.period, settings.noise
        self.input_size, self.output_size = 1, settings.horizon

    def generate(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        time = torch.arange(length + self.output_size)
        level, slope = torch.randn(2, n, 1, generator=generator)
        series = level + slope * (time - length) / length
        for number, amplitude in enumerate(HARMONICS, 1):
            phase = torch.rand(n, 1, generator=generator)
            series += amplitude * torch.sin(2 * math.pi * (number * time / self.period + phase))
        series += self.noise * torch.randn(series.shape, generator=generator)
        return series[:, :length].unsqueeze(2), series[:, length:].unsqueeze(1)
