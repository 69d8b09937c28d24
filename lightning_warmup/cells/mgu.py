"""The minimal gated unit (Zhou et al., 2016)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_warmup.cells._gated import Gate, GatedCell


class MGU(GatedCell):
    """The minimal gated unit: one gate both resets and updates.

        f  = sigmoid(W_f x + b_f + U_f h)
        h' = (1 - f) h + f tanh(W_h x + b_h + U_h (f h))

    Matrices start Xavier-uniform, gate by gate; biases start at 0. Zhou et al., arXiv 1603.09420. For arguments and
    shapes, see :class:`lightning_warmup.cells.GatedCell`.
    """

    gates: ClassVar = {"f": Gate(), "h": Gate()}
    overwrite = "f"

    def step(self, h: Tensor, gate: Any) -> Tensor:
        f = torch.sigmoid(gate.f(h))
        return h.lerp(torch.tanh(gate.h(f * h)), f)
