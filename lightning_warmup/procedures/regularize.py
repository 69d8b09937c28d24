"""Keeping in training what a warmup has brought."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from lightning_warmup.distributed import sum_over_processes
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.procedures import Batch, require, time_first
from lightning_warmup.procedures.objectives import Objective

EVERY = 4
"""Training steps between two that the objective takes part in: often enough to keep it, at a fourth of the cost."""
MAX_STABILIZATION = 200
"""Longest stabilisation in training, in steps: longer ones cost more than a training step."""


@dataclass(frozen=True)
class Regularizer:
    """The objective of a warmup as a further loss in training, which can undo what the warmup has brought.

    Attributes:
        objective: The objective; stabilisations are uniform in 1..200, or to its own limit if that is smaller.
        weight: Weight of its loss; 0 is not at all.
        seed: Seed of all that is drawn.
    """

    objective: Objective
    weight: float
    seed: int = 0

    def __post_init__(self) -> None:
        require("regularize", self.weight, 0 <= self.weight < math.inf, "a number of at least 0")

    def takes_part(self, step: int) -> bool:
        """Return whether the objective takes part in a training step."""
        return self.weight > 0 and step % EVERY == 0

    def add_gradient(
        self, rnn: nn.Module, batch: Batch, step: int, accumulated: int = 1, scale: float = 1.0
    ) -> None:
        """Add the weighted gradient to the gradients of the weights that a warmup moves.

        The batch is this process's, laid out as the network takes it. The training step takes the mean of the
        gradients of ``accumulated`` batches, and ``scale`` is a factor of its loss.
        """
        layers, (sequences, lengths) = layers_of(rnn), batch
        generator = torch.Generator().manual_seed(self.seed + 1 + step)
        longest = min(self.objective.max_stabilization, MAX_STABILIZATION)
        stabilization = int(torch.randint(1, longest + 1, (), generator=generator))
        weights = [p for layer in layers for p in layer.warmed if p.requires_grad]
        with torch.enable_grad():
            loss, _ = self.objective(layers, (time_first(rnn, sequences), lengths), stabilization, generator)
            gradients = torch.autograd.grad(
                self.weight / accumulated * scale * loss, weights, allow_unused=True
            )
        for parameter, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                shared = sum_over_processes(gradient)
                parameter.grad = shared if parameter.grad is None else parameter.grad + shared
