"""The LightningModule for regression and classification at marked time steps."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, SumMetric

from lightning_warmup.modules.constant import best_constant_loss
from lightning_warmup.modules.finite import check_finite
from lightning_warmup.modules.parts import MakeOptimizer, NetworkModule, adam

Batch = tuple[Tensor, Tensor, Tensor]


class Accuracy(MeanMetric):
    """The fraction of read-outs that are classified correctly."""

    def update(self, outputs: Tensor, targets: Tensor) -> None:  # type: ignore[override]
        super().update((outputs.argmax(-1) == targets).float())


class Errors(SumMetric):
    """The number of read-outs that are classified wrongly."""

    def update(self, outputs: Tensor, targets: Tensor) -> None:  # type: ignore[override]
        super().update((outputs.argmax(-1) != targets).sum())


class SequenceModule(NetworkModule):
    """Trains a network on outputs at some time steps, the read-outs.

    A batch is ``(sequences, targets, read_at)``: sequences ``(B, T, I)``; targets ``(B, K, O)`` for regression or
    ``(B, K)`` class numbers for classification; read_at ``(K,)``, the time steps of the read-outs, or ``(B, K)`` if
    they differ between sequences. A sequence with fewer than K read-outs, but at least one, has -1 in their place.
    With ``(B, K)``, everything after the last read-out is padding.

    A subclass may override :meth:`loss` and :meth:`metrics`. The loss is logged as ``train/loss``, ``val/loss`` and
    ``test/loss``, the metrics as ``val/NAME`` and ``test/NAME``. The datamodule names its further test loaders in
    ``test_names``, such as ``length/T``; they are logged as ``test_at_length/T`` and ``NAME_at_length/T``.

    Args:
        network: The network or its arguments, see :class:`NetworkModule`.
        task: ``"regression"`` or ``"classification"``; selects the loss and the metrics.
        optimizer: Makes the optimiser, see :data:`lightning_warmup.modules.parts.MakeOptimizer`.

    Raises:
        ValueError: If ``task`` is unknown, or as :class:`NetworkModule`.

    Examples:
        ``SequenceModule({"input_size": 1, "hidden_size": 32, "output_size": 1})``
    """

    monitor = ("val/loss", "min")

    def __init__(
        self,
        network: nn.Module | dict[str, Any] | None = None,
        task: str = "regression",
        optimizer: MakeOptimizer = adam,
    ) -> None:
        if task not in ("regression", "classification"):
            raise ValueError(f"task={task!r}: choose regression or classification")
        super().__init__(network, optimizer, task=task)
        self.task = task
        self.val_metrics, self.test_metrics = self._new_metrics(), nn.ModuleList([self._new_metrics()])
        self.test_names: tuple[str, ...] = ()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of read-outs: by default the mean squared error or the cross-entropy.

        Args:
            outputs: ``(..., O)`` for regression, ``(R, O)`` for classification.
            targets: ``(..., O)`` values, or ``(R,)`` class numbers.
        """
        function = F.mse_loss if self.task == "regression" else F.cross_entropy
        return function(outputs, targets)

    def metrics(self) -> dict[str, Metric]:
        """Return new metrics to log beside the loss; they are updated with outputs ``(R, O)`` and targets."""
        if self.task == "regression":
            return {}
        return {"accuracy": Accuracy(), "errors": Errors()}

    def trivial_loss(self, datamodule: Any) -> float | None:
        """Return the loss of the best constant prediction on the test split, None if it is unknown.

        For the default loss it is the datamodule's ``trivial_loss``; another loss is computed from the targets.
        """
        default = type(self).loss is SequenceModule.loss
        if (default and datamodule.trivial_loss is not None) or not hasattr(datamodule, "split"):
            return datamodule.trivial_loss if default else None
        test = datamodule.split("test")
        read_out = test.steps >= 0 if test.steps.dim() == 2 else ...
        targets = test.targets[read_out]
        rows = targets.flatten(0, -2) if self.task == "regression" else targets.flatten()
        return best_constant_loss(self.loss, rows.to(self.device), datamodule.output_size)

    @staticmethod
    def sequences(batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
        """Return the sequences ``(B, T, I)`` of a batch, and lengths ``(B,)`` if the read-outs differ."""
        sequences, _, read_at = batch
        return sequences if read_at.dim() == 1 else (sequences, read_at.amax(1) + 1)

    def forward(self, sequences: Tensor, read_at: Tensor | None = None) -> Tensor:
        """Return the outputs ``(B, K, O)`` at the time steps ``read_at``, or at all time steps."""
        return self.network(sequences, read_at=read_at)[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        outputs, targets = self._read_out(batch)
        loss = self.loss(outputs, targets)
        check_finite(loss, self, batch[:2])
        if batch[2].dim() == 2 and self.trainer.world_size > 1:
            # Processes have different numbers of read-outs, and their gradients are averaged.
            count = torch.tensor(float(len(outputs)), device=self.device)
            loss = loss * (count / self.all_gather(count).mean())  # type: ignore[union-attr]
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, metric in self._update(self.val_metrics, batch, finite=True).items():
            self.log(f"val/{name}", metric, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        metrics = self._update(self.test_metrics[dataloader_idx], batch, finite=dataloader_idx == 0)
        for name, metric in metrics.items():
            key = f"test/{name}"
            if dataloader_idx:
                key = f"{'test' if name == 'loss' else name}_at_{self.test_names[dataloader_idx - 1]}"
            self.log(key, metric, add_dataloader_idx=False)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        sequences, _, read_at = batch
        return self(sequences, read_at)

    def setup(self, stage: str) -> None:
        self.test_names = getattr(self.trainer.datamodule, "test_names", ())  # type: ignore[attr-defined]
        self.test_metrics = nn.ModuleList(self._new_metrics() for _ in ("", *self.test_names))

    def _update(self, metrics: nn.Module, batch: Batch, finite: bool) -> dict[str, Metric]:
        """Update metrics with a batch and return them; if ``finite``, refuse a loss that is not."""
        outputs, targets = self._read_out(batch)
        loss = self.loss(outputs, targets)
        if finite:
            check_finite(loss, self, batch[:2])
        found = cast(dict[str, Metric], dict(metrics.named_children()))
        found["loss"].update(loss, len(outputs))
        rows = (
            (outputs, targets)
            if self.task == "classification"
            else (outputs.flatten(0, -2), targets.flatten(0, -2))
        )
        for name in found.keys() - {"loss"}:
            found[name].update(*rows)
        return found

    def _read_out(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the outputs and the targets of a batch, as :meth:`loss` takes them."""
        sequences, targets, read_at = batch
        outputs = self(sequences, read_at)
        if read_at.dim() == 2:
            outputs, targets = outputs[read_at >= 0], targets[read_at >= 0]
        if self.task == "classification":
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        return outputs, targets

    def _new_metrics(self) -> nn.ModuleDict:
        loss = MeanMetric(nan_strategy=math.nan)  # by default, a loss that is NaN would not count
        return nn.ModuleDict({"loss": loss, **self.metrics()})
