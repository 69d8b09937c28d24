"""The private names that are still needed exist and mean what they did."""

from __future__ import annotations

from pathlib import Path

import torch
from stranger import Stranger, loader, trainer

from lightning_warmup import _compat


def test_functorch_active() -> None:
    assert hasattr(torch._C, "_are_functorch_transforms_active"), (
        "torch has no _C._are_functorch_transforms_active any more: _compat.functorch_active needs another way"
    )
    seen = []

    def watch(x: torch.Tensor) -> torch.Tensor:
        seen.append(_compat.functorch_active())
        return x.sin()

    watch(torch.ones(2))
    torch.vmap(watch)(torch.ones(2))
    torch.func.grad(watch)(torch.ones(()))
    assert seen == [False, True, True]


def test_training_data(tmp_path: Path) -> None:
    data, fit = loader(), trainer(tmp_path, max_steps=0)
    fit.fit(Stranger(), data)
    try:
        assert _compat.training_data(fit) is data
    except AttributeError as error:
        raise AssertionError(f"Lightning has changed trainer.fit_loop._data_source: {error}") from error
