"""The long short-term memory (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_warmup._compat import functorch_active
from lightning_warmup.engine.denormals import chunked
from lightning_warmup.engine.gates import Gate


class LSTM(nn.LSTM):
    """One layer of ``torch.nn.LSTM``; on a CPU, its vanishing gradients do not become denormal numbers.

        i  = sigmoid(W_i x + b_i + U_i h + b'_i)
        f  = sigmoid(W_f x + b_f + U_f h + b'_f)
        g  = tanh(W_g x + b_g + U_g h + b'_g)
        o  = sigmoid(W_o x + b_o + U_o h + b'_o)
        c' = f c + i g
        h' = o tanh(c')

    Weights start uniform in [-1/sqrt(H), 1/sqrt(H)], as in torch. Hochreiter and Schmidhuber, "Long short-term
    memory", 1997; the forget gate comes from Gers et al., 2000. For arguments and shapes, see
    :class:`lightning_warmup.cells.GatedCell`; h_0 and h_n are tuples (h, c).
    """

    gates: ClassVar = {"i": Gate(), "f": Gate(), "g": Gate(), "o": Gate()}
    states: ClassVar = 2
    remember = "f"
    overwrite = "i"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, 1, bias, batch_first, device=device, dtype=dtype)

    def step(self, h: Tensor, c: Tensor, gate: Any) -> tuple[Tensor, Tensor]:
        """Return the next states as torch's kernel computes them; proofs run this step on boxes of states."""
        c = torch.addcmul(torch.sigmoid(gate.i(h)) * torch.tanh(gate.g(h)), torch.sigmoid(gate.f(h)), c)
        return torch.sigmoid(gate.o(h)) * torch.tanh(c), c

    def forward(self, input: Any, h_0: Any = None) -> Any:
        plain = isinstance(input, nn.utils.rnn.PackedSequence) or input.is_cuda or not torch.is_grad_enabled()
        if plain or functorch_active():
            return super().forward(input, h_0)
        return chunked(super().forward, input, h_0, time=int(self.batch_first and input.dim() == 3))
