"""The LightningModule for regression and classification at marked time steps."""

from collections.abc import Callable
from operator import itemgetter
from typing import ClassVar, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from lightning_warmup.modules.finite import check_finite
from lightning_warmup.networks import RecurrentNetwork

Batch = tuple[Tensor, Tensor, Tensor]


class SequenceModule(LightningModule):
    """Trains a :class:`RecurrentNetwork` on outputs at marked time steps, with Adam.

    A batch is ``(sequences, targets, read_at)``: sequences ``(B, T, I)``; targets ``(B, K, O)`` for regression or
    ``(B, K)`` class numbers for classification; read_at ``(K,)``, the time steps that are read out. The loss is
    the mean squared error or the cross-entropy, weighted by samples; it is logged as ``train/loss``, ``val/loss``
    and ``test/loss``, beside the accuracy for classification. Test loaders after the first one hold longer
    sequences, logged as ``test_at_length/T``.

    Args:
        input_size, output_size, task: I; O, outputs or classes; ``"regression"`` or ``"classification"``.
        lr: Learning rate of Adam.
        cell, hidden_size, num_layers, double, init, t_max: As for :class:`RecurrentNetwork`.

    Attributes:
        network: What is trained, and warmed up.
        monitor: The figure that tells the best checkpoint, and whether its least or greatest value is best.
        sequences: Function from a batch to its sequences, for the warmup.

    Raises:
        ValueError: If ``task`` is unknown, or as :class:`RecurrentNetwork`.
    """

    monitor: ClassVar[tuple[str, str]] = ("val/loss", "min")
    sequences: ClassVar[Callable[[Batch], Tensor]] = itemgetter(0)

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
        self.figures = nn.ModuleDict({"val": self._new_figures(), "test": self._new_figures()})
        self.loss_at_length = nn.ModuleDict()

    def forward(self, sequences: Tensor, read_at: Tensor | None = None) -> Tensor:
        """Return the outputs ``(B, K, O)`` at the time steps ``read_at``, or at all of them."""
        return self.network(sequences, read_at=read_at)[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, _ = self._loss(batch)
        check_finite(loss, self, batch[:2])
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        if dataloader_idx == 0:
            self._evaluate("test", batch)
        else:
            length = str(batch[0].shape[1])
            metric = cast(MeanMetric, self.loss_at_length[length])
            metric.update(self._loss(batch)[0], len(batch[0]))
            self.log(f"test_at_length/{length}", metric, add_dataloader_idx=False)

    def setup(self, stage: str) -> None:
        lengths = getattr(self.trainer.datamodule, "test_lengths", ())  # type: ignore[attr-defined]
        self.loss_at_length = nn.ModuleDict({str(length): MeanMetric() for length in lengths})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _evaluate(self, split: str, batch: Batch) -> None:
        loss, outputs = self._loss(batch)
        check_finite(loss, self, batch[:2])
        for name, metric in self.figures[split].items():  # type: ignore[operator]
            if name == "loss":
                metric.update(loss, len(batch[0]))
            else:
                metric.update(outputs.flatten(0, 1), batch[1].flatten())
            self.log(f"{split}/{name}", metric, prog_bar=split == "val", add_dataloader_idx=False)

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        sequences, targets, read_at = batch
        outputs = self(sequences, read_at)
        if self.task == "regression":
            return F.mse_loss(outputs, targets), outputs
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten()), outputs

    def _new_figures(self) -> nn.ModuleDict:
        figures = nn.ModuleDict({"loss": MeanMetric()})
        if self.task == "classification":
            figures["accuracy"] = MulticlassAccuracy(self.hparams["output_size"], average="micro")
        return figures
