"""The gated recurrent unit (Cho et al., 2014)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_warmup._compat import functorch_active
from lightning_warmup.cells._gated import Gate, GatedCell, orthogonal_
from lightning_warmup.engine.gates import gate_weights, stacked_weights


class GRU(GatedCell):
    """The gated recurrent unit, with the weights of ``torch.nn.GRU``.

        r  = sigmoid(W_r x + b_r + U_r h + b'_r)
        z  = sigmoid(W_z x + b_z + U_z h + b'_z)
        n  = tanh(W_n x + b_n + r (U_n h + b'_n))
        h' = (1 - z) n + z h

    Input matrices start Xavier-uniform and recurrent matrices orthogonal, gate by gate; biases start at 0. On CUDA
    devices, and without gradients, it runs on torch's kernel; the CUDA kernel has no second derivatives. Cho et
    al., arXiv 1406.1078; the reset gate acts after the recurrent product, as in torch. For arguments and shapes,
    see :class:`lightning_warmup.cells.GatedCell`.
    """

    gates: ClassVar = {"r": Gate(), "z": Gate(), "m": Gate(input=False), "n": Gate(recurrent=None)}
    biases = 2
    remember = "z"

    def step(self, h: Tensor, gate: Any) -> Tensor:
        r = torch.sigmoid(gate.r(h))
        z = torch.sigmoid(gate.z(h))
        n = torch.tanh(torch.addcmul(gate.n(), r, gate.m(h)))
        return n.lerp(h, z)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for weights in gate_weights(self).values():
            if weights.weight_hh is not None:
                orthogonal_(weights.weight_hh)

    def _run(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
        if functorch_active() or (torch.is_grad_enabled() and not x.is_cuda):
            return super()._run(x, states)  # the engine is faster only with gradients
        weights = [weight for weight in stacked_weights(self) if weight is not None]
        # biases, layers, dropout, training, bidirectional, batch_first
        output, h_n = torch.gru(x, states[0][None], weights, self.bias, 1, 0.0, self.training, False, False)
        return output, h_n[0]
