"""The private names that are still needed exist and mean what they did."""

from __future__ import annotations

import torch

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
