"""The recurrently neuromodulated bistable cell (Vecoven et al., 2021)."""

from __future__ import annotations

from typing import ClassVar

from lightning_warmup.cells._gated import Gate
from lightning_warmup.cells.brc import BRC


class NBRC(BRC):
    """The neuromodulated bistable cell: a BRC whose feedback and update gates see all units.

        c  = sigmoid(W_c x + b_c + U_c h)
        a  = 1 + tanh(W_a x + b_a + U_a h)
        h' = c h + (1 - c) tanh(W_h x + b_h + a h)

    Matrices start Xavier-uniform, gate by gate; biases start at 0. Vecoven, Ernst and Drion, arXiv 2006.05252. For
    arguments and shapes, see :class:`lightning_warmup.cells.GatedCell`.
    """

    gates: ClassVar = {"c": Gate(), "a": Gate(), "h": Gate(recurrent=None)}
