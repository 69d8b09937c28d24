"""The private names that are still needed exist and mean what they did."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
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


def test_uncompiled() -> None:
    module = torch.nn.Linear(1, 1)
    assert _compat.uncompiled(torch.compile(module, backend="eager")) is module
    assert _compat.uncompiled(module) is module


def test_training_loader_and_on_device(tmp_path: Path) -> None:
    seen = []

    class Look(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            found = iter(_compat.training_loader(trainer))
            seen.extend(_compat.on_device(trainer, next(found)[0]) for _ in range(len(found)))

    module = Stranger().double()
    trainer(tmp_path, Look(), limit_train_batches=2, precision="64-true").fit(module, loader())
    assert [batch[0].shape for batch in seen] == [(16, 20, 1)] * 2
    assert seen[0][0].dtype == torch.double
    assert len(module.seen) == 2


def test_call_hooks() -> None:
    def before(module: torch.nn.Module, args: object) -> None:
        pass

    def after(module: torch.nn.Module, args: object, result: object) -> None:
        pass

    module = torch.nn.Identity()
    handles = module.register_forward_pre_hook(before), module.register_forward_hook(after)
    assert _compat.call_hooks(module) == [before, after]
    for handle in handles:
        handle.remove()
    assert _compat.call_hooks(module) == []
