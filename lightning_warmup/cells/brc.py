"""The bistable recurrent cell (Vecoven et al., 2021)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_warmup.cells._gated import Gate, GatedCell


class BRC(GatedCell):
    """The bistable recurrent cell: a unit is bistable if its feedback a exceeds 1.

        c  = sigmoid(W_c x + b_c + u_c h)
        a  = 1 + tanh(W_a x + b_a + u_a h)
        h' = c h + (1 - c) tanh(W_h x + b_h + a h)

    A unit sees only its own state. Matrices start Xavier-uniform, gate by gate; u_c and u_a start at 1, biases at
    0. Vecoven, Ernst and Drion, arXiv 2006.05252; the bias b_h comes from arXiv 2106.01001. For arguments and
    shapes, see :class:`lightning_warmup.cells.GatedCell`.
    """

    gates: ClassVar = {"c": Gate("diagonal"), "a": Gate("diagonal"), "h": Gate(recurrent=None)}
    remember = "c"

    def step(self, h: Tensor, gate: Any) -> Tensor:
        c = torch.sigmoid(gate.c(h))
        a = gate.a(h)
        half = torch.sigmoid(a + a)  # 1 + tanh(v) = 2 sigmoid(2 v), and a sigmoid is cheaper than a tanh
        return torch.tanh(torch.addcmul(gate.h(), half, h, value=2)).lerp(h, c)
