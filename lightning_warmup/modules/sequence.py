"""The LightningModule for regression and classification at marked time steps."""

from typing import ClassVar, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from lightning_warmup.modules.finite import check_finite
from lightning_warmup.networks import RecurrentNetwork

Batch = tuple[Tensor, Tensor, Tensor]


def sequences_of(batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
    """Return the sequences ``(B, T, I)`` of a batch, and their lengths ``(B,)`` if read-outs are each one's own."""
    sequences, _, read_at = batch
    return sequences if read_at.dim() == 1 else (sequences, read_at.amax(1) + 1)


class SequenceModule(LightningModule):
    """Trains a :class:`RecurrentNetwork` on outputs at marked time steps, with Adam.

    A batch is ``(sequences, targets, read_at)``: sequences ``(B, T, I)``; targets ``(B, K, O)`` for regression or
    ``(B, K)`` class numbers for classification; read_at ``(K,)``, the time steps that are read out, or ``(B, K)``,
    those of each sequence, at least one, and -1 where it has fewer than K. Such a sequence ends at the last step
    that is read out; what follows is padding.

    The loss is the mean squared error or the cross-entropy, a mean over read-outs; it is logged as ``train/loss``,
    ``val/loss`` and ``test/loss``, for classification beside the accuracy and the number of wrong read-outs,
    ``errors``. Test loaders after the first one are logged under the names that the datamodule has for them in
    ``test_names``, such as ``length/T``: as ``test_at_length/T``, ``accuracy_at_length/T``, ``errors_at_length/T``.

    Args:
        input_size, output_size, task: I; O, outputs or classes; ``"regression"`` or ``"classification"``.
        lr: Learning rate of Adam.
        cell, hidden_size, num_layers, double, init, t_max: As for :class:`RecurrentNetwork`.

    Attributes:
        network: What is trained, and warmed up.
        monitor: The figure that tells the best checkpoint, and whether its least or greatest value is best.
        sequences: :func:`sequences_of`, for the warmup.

    Raises:
        ValueError: If ``task`` is unknown, or as :class:`RecurrentNetwork`.
    """

    monitor: ClassVar[tuple[str, str]] = ("val/loss", "min")
    sequences = staticmethod(sequences_of)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        task: str = "regression",
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 2,
        double: bool = False,
        init: str = "default",
        t_max: int = 600,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if task not in ("regression", "classification"):
            raise ValueError(f"task={task!r}: choose regression or classification")
        self.save_hyperparameters(logger=False)
        self.task, self.lr = task, lr
        sizes = input_size, hidden_size, output_size, num_layers
        self.network = RecurrentNetwork(*sizes, cell, double, init, t_max, batch_first=True)
        self.val_figures, self.test_figures = self._new_figures(), nn.ModuleList([self._new_figures()])
        self.test_names: tuple[str, ...] = ()

    def forward(self, sequences: Tensor, read_at: Tensor | None = None) -> Tensor:
        """Return the outputs ``(B, K, O)`` at the time steps ``read_at``, or at all of them."""
        return self.network(sequences, read_at=read_at)[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, outputs, _ = self._loss(batch)
        check_finite(loss, self, batch[:2])
        if batch[2].dim() == 2 and self.trainer.world_size > 1:
            # Gradients are averaged over processes, which have different numbers of read-outs.
            count = torch.tensor(float(len(outputs)), device=self.device)
            loss = loss * (count / self.all_gather(count).mean())  # type: ignore[union-attr]
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        figures = self._update(self.val_figures, batch, finite=True)
        for name, metric in figures.items():
            self.log(f"val/{name}", metric, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        figures = self._update(self.test_figures[dataloader_idx], batch, finite=dataloader_idx == 0)
        for name, metric in figures.items():
            key = f"test/{name}"
            if dataloader_idx:
                key = f"{'test' if name == 'loss' else name}_at_{self.test_names[dataloader_idx - 1]}"
            self.log(key, metric, add_dataloader_idx=False)

    def setup(self, stage: str) -> None:
        self.test_names = getattr(self.trainer.datamodule, "test_names", ())  # type: ignore[attr-defined]
        self.test_figures = nn.ModuleList(self._new_figures() for _ in ("", *self.test_names))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _update(self, figures: nn.Module, batch: Batch, finite: bool) -> dict[str, Metric]:
        """Update the figures by a batch and return them; refuse a loss that is not finite if it must be."""
        loss, outputs, targets = self._loss(batch)
        if finite:
            check_finite(loss, self, batch[:2])
        metrics = cast(dict[str, Metric], dict(figures.named_children()))
        metrics["loss"].update(loss, len(outputs))
        if self.task == "classification":
            metrics["accuracy"].update(outputs.flatten(0, -2), targets.flatten())
            metrics["errors"].update((outputs.argmax(-1) != targets).sum())
        return metrics

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the outputs and the targets: (B, K, ...), or (R, ...) for R read-outs at own steps."""
        sequences, targets, read_at = batch
        outputs = self(sequences, read_at)
        if read_at.dim() == 2:
            outputs, targets = outputs[read_at >= 0], targets[read_at >= 0]
        if self.task == "regression":
            return F.mse_loss(outputs, targets), outputs, targets
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten()), outputs, targets

    def _new_figures(self) -> nn.ModuleDict:
        figures = nn.ModuleDict({"loss": MeanMetric()})
        if self.task == "classification":
            figures["accuracy"] = MulticlassAccuracy(self.hparams["output_size"], average="micro")
            figures["errors"] = SumMetric()
        return figures
