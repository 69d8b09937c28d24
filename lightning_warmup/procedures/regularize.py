"""The objective of a warmup as a further loss in training, which can undo what the warmup has brought."""

from __future__ import annotations

import torch
from torch import nn

from lightning_warmup.distributed import take_from_first
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.sequences import Batch
from lightning_warmup.procedures.stabilisation import loss_of

EVERY = 4
"""Training steps between two that the objective takes part in: often enough to keep it, at a fourth of the cost."""
MAX_STABILIZATION = 200
"""Longest stabilisation in training, in steps: longer ones cost more than a training step."""


def takes_part(plan: WarmupPlan, step: int) -> bool:
    """Return whether the objective takes part in a training step."""
    return plan.objective.regularize > 0 and step % EVERY == 0


def add_gradient(
    plan: WarmupPlan, rnn: nn.Module, batch: Batch, step: int, accumulated: int = 1, scale: float = 1.0
) -> None:
    """Add the weighted gradient of the objective to the gradients of the weights that a warmup moves.

    Stabilisations are uniform in 1..200, or up to the objective's own limit if that is smaller. The training step
    takes the mean of the gradients of ``accumulated`` batches, and ``scale`` is a factor of its loss.
    """
    layers, objective = layers_of(rnn), plan.objective
    generator = torch.Generator().manual_seed(plan.seed + 1 + step)
    longest = min(objective.max_stabilization, MAX_STABILIZATION)
    stabilization = int(torch.randint(1, longest + 1, (), generator=generator))
    weights = [p for p in plan.moved(layers) if p.requires_grad]
    with torch.enable_grad():
        loss, _ = loss_of(plan, layers, batch, stabilization, generator)
        loss = objective.regularize / accumulated * scale * loss
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    for parameter, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            gradient = take_from_first(gradient)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
