"""The gated recurrent unit (Cho et al., 2014)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_warmup.cells._gated import Gate, GatedCell, orthogonal_
from lightning_warmup.engine.gates import gate_weights, stacked_weights


class GRU(GatedCell):
    """The gated recurrent unit, with the weights of ``torch.nn.GRU``.

        r  = sigmoid(W_r x + b_r + U_r h + b'_r)
        z  = sigmoid(W_z x + b_z + U_z h + b'_z)
        n  = tanh(W_n x + b_n + r (U_n h + b'_n))
        h' = (1 - z) n + z h

    Input matrices start Xavier-uniform and recurrent matrices orthogonal, gate by gate; biases start at 0.
    On CUDA devices, and where no gradient is wanted, it runs on torch's own kernel; that of CUDA has no second
    derivatives. Cho et al., arXiv 1406.1078; the reset gate acts after the recurrent product, as in torch.

    Arguments and shapes: see :class:`lightning_warmup.cells._gated.GatedCell`.
    """

    gates: ClassVar = {"r": Gate(), "z": Gate(), "m": Gate(input=False), "n": Gate(recurrent=None)}
    biases = 2
    remember = "z"

    def step(self, h: Tensor, gate: Any) -> Tensor:
        """Return the next state."""
        r = torch.sigmoid(gate.r(h))
        z = torch.sigmoid(gate.z(h))
        n = torch.tanh(torch.addcmul(gate.n(), r, gate.m(h)))
        return n.lerp(h, z)

    def reset_parameters(self) -> None:
        """Draw input matrices Xavier-uniform, recurrent ones orthogonal, gate by gate; set biases to 0."""
        super().reset_parameters()
        for weights in gate_weights(self).values():
            if weights.weight_hh is not None:
                orthogonal_(weights.weight_hh)

    def _run(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
        fused = x.is_cuda or not torch.is_grad_enabled()  # the engine is faster with a gradient only
        return self._fused(x, states[0]) if fused else super()._run(x, states)

    def _fused(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        weights = [weight for weight in stacked_weights(self) if weight is not None]
        # biases, layers, dropout, training, bidirectional, batch_first
        output, h_n = torch.gru(x, h[None], weights, self.bias, 1, 0.0, self.training, False, False)
        return output, h_n[0]
