"""Keeping in training what a warmup has brought."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import sum_over_processes
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.procedures.objectives import WarmupLoss

EVERY = 4
"""Training steps between two at which the objective is kept."""
MAX_STABILIZATION = 200
"""Longest stabilisation in training, in steps."""


def add_gradient(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None,
    weight: float,
    generator: torch.Generator,
    loss: WarmupLoss,
    longest: int = MAX_STABILIZATION,
) -> None:
    """Adds ``weight`` times the gradient of a warmup's loss to the gradients of the weights that it warms up.

    Training can undo what a warmup has brought; this keeps it. The stabilisation is uniform in 1..``longest``.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: This process's inputs, ``(T, N, I)``, or ``(N, T, I)`` if the network has ``batch_first``.
        lengths: Steps of each sequence, ``(N,)``, instead of random cuts.
        weight: Weight of the loss.
        generator: Source of all that is drawn, the same on every process.
        loss: The loss.
        longest: Longest stabilisation, in steps.
    """
    layers = layers_of(rnn)
    if getattr(rnn, "batch_first", False):
        sequences = sequences.transpose(0, 1)
    stabilization = int(torch.randint(1, longest + 1, (), generator=generator))
    weights = [p for layer in layers for p in layer.warmed if p.requires_grad]
    with torch.enable_grad():
        total = weight * loss(layers, sequences, lengths, stabilization, generator)[0]
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
    for parameter, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            shared = sum_over_processes(gradient)
            parameter.grad = shared if parameter.grad is None else parameter.grad + shared
