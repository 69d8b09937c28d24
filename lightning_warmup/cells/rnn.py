"""The simple recurrent network (Elman, 1990)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_warmup.cells._gated import Gate, GatedCell, uniform_


class RNN(GatedCell):
    """Elman's network, with the weights of ``torch.nn.RNN``.

        h' = tanh(W x + b + U h + b')

    Weights start as torch's, uniform within 1/sqrt(H) of zero. Elman, "Finding structure in time", 1990.
    Arguments and shapes: those of :class:`lightning_warmup.cells.GatedCell`.
    """

    gates: ClassVar = {"h": Gate()}
    biases = 2

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h))

    def reset_parameters(self) -> None:
        uniform_(self)
