"""The simple recurrent network (Elman, 1990)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_warmup.cells._gated import Gate, GatedCell, uniform_


class RNN(GatedCell):
    """Elman's network, with the weights of ``torch.nn.RNN``.

        h' = tanh(W x + b + U h + b')

    Weights start uniform in [-1/sqrt(H), 1/sqrt(H)], as in torch. Elman, "Finding structure in time", 1990. For
    arguments and shapes, see :class:`lightning_warmup.cells.GatedCell`.
    """

    gates: ClassVar = {"h": Gate()}
    biases = 2

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h))

    def reset_parameters(self) -> None:
        uniform_(self)
