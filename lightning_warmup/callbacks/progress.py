"""The progress bar of a run."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Lightning's progress bar without ``v_num``, the version of a logger."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the metrics that the bar shows."""
        return {
            name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"
        }
