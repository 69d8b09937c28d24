"""Private names of torch and Lightning that nothing public replaces, one function each."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def training_data(trainer: Trainer) -> Any:
    """Return what a fit takes its training batches from, as the user gave it.

    A callback needs it before the first epoch, but ``trainer.train_dataloader`` is None until then
    (Lightning 2.6.6, ``_FitLoop._data_source``).
    """
    return trainer.fit_loop._data_source.dataloader()
