"""Portraits of the network of a fit, at its stages."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_warmup.callbacks.batches import ToSequences, first_element, to_device
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.dynamics.portraits import FOLDER, portrait
from lightning_warmup.networks.find import find_network


class Portraits(Callback):
    """Portrays the network of a fit before and after its stages, and as it is tested; put it before them.

    Like the report, it looks at the first test sequences, which the datamodule gives as
    ``first_test_batch(count)``. Portraits are kept as ``portraits/before.npz`` and ``portraits/final.npz``, and the
    one after the last stage under the name of that stage.

    Args:
        folder: The run folder.
        steps: Constant steps M.
        sequences: Turns a batch into sequences or ``(sequences, lengths)``, as for the stages.
        network: Attribute of the LightningModule that holds the recurrent network, as for the stages.
        count: Number N of sequences.
    """

    def __init__(
        self,
        folder: Path,
        steps: int = 2000,
        sequences: ToSequences = first_element,
        network: str | None = None,
        count: int = 64,
    ) -> None:
        self.folder = folder / FOLDER
        self.steps = steps
        self.sequences = sequences
        self.network = network
        self.count = count

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Portrays the network as it was initialised."""
        if trainer.ckpt_path is None:
            self._take("before", trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Portrays the network as the stages left it."""
        done = [c.name for c in trainer.callbacks if isinstance(c, Stage) and c.done]  # type: ignore[attr-defined]
        if trainer.ckpt_path is None and done:
            self._take(done[-1], trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Portrays the network that is tested."""
        self._take("final", trainer, pl_module)

    def _take(self, moment: str, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        batch = trainer.datamodule.first_test_batch(self.count)  # type: ignore[attr-defined]
        sequences, lengths = to_device(batch, self.sequences, trainer, module)
        taken = portrait(find_network(module, self.network), sequences, lengths, steps=self.steps)
        self.folder.mkdir(exist_ok=True)
        np.savez(self.folder / f"{moment}.npz", **asdict(taken))
