"""Gradients of a procedure that runs beside the training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def set_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> None:
    """Set the gradients of parameters, as ``loss.backward()`` does from none.

    That would also call the hooks of DDP, which would take it for a step of the training.
    """
    moved = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter, gradient in zip(moved, torch.autograd.grad(loss, moved, allow_unused=True), strict=True):
        parameter.grad = gradient
