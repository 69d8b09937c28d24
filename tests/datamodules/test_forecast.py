"""Forecasts: what is asked for follows what is read."""

from __future__ import annotations

import pytest
import torch
from benchmark import benchmark


def test_without_noise_the_series_goes_on_as_it_was() -> None:
    data = benchmark(
        "forecast", seq_length=96, horizon=24, period=24, noise=0.0, train_size=64, test_lengths=[]
    )
    sequences, targets, steps = next(iter(data.train_dataloader()))
    assert (sequences.shape, targets.shape, steps.tolist()) == ((32, 96, 1), (32, 1, 24), [95])
    series = torch.cat([sequences.squeeze(2), targets.squeeze(1)], 1)
    rise = series[:, 24:] - series[:, :-24]  # a season later only the trend has moved
    torch.testing.assert_close(rise, rise[:, :1].expand_as(rise), rtol=1e-3, atol=1e-5)


def test_the_noise_alone_is_left_of_what_is_known() -> None:
    data = benchmark("forecast", seq_length=96, noise=0.5)
    sequences, targets = data.generate(5000, 96, torch.Generator().manual_seed(0))
    calm = benchmark("forecast", seq_length=96, noise=0.0)
    known = calm.generate(5000, 96, torch.Generator().manual_seed(0))
    for noisy, without in zip((sequences, targets), known, strict=True):
        assert float((noisy - without).square().mean()) == pytest.approx(0.25, rel=0.02)
