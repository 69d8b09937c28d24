"""A recurrent cell of gates and one elementwise step, called like torch's layers."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils.rnn import PackedSequence

from lightning_warmup._compat import functorch_active
from lightning_warmup.engine.gates import Gate, as_tuple, gate_weights, members, stacked_weights
from lightning_warmup.engine.scan import loop, scan

__all__ = ["Gate", "GatedCell"]


class GatedCell(nn.Module):
    """One recurrent layer, called like ``torch.nn.GRU``: ``output, h_n = cell(input, h_0)``.

    A subclass names its gates and defines the step:

        class MGU(GatedCell):
            gates = {"f": Gate(), "h": Gate()}

            def step(self, h, gate):
                f = torch.sigmoid(gate.f(h))
                return h.lerp(torch.tanh(gate.h(f * h)), f)

    An elementwise step, whose units interact only inside the gates (:mod:`lightning_warmup.engine.gates`), runs on
    the fast engine. The first call tries the step on small tensors. If it is not elementwise (a norm over units,
    for example), or has weights or random numbers of its own, it runs in a plain loop, with a warning.

    A cell with several states sets ``states``; its ``step(self, h, c, gate)`` takes and returns that many. The
    first is the output, and ``h_0`` and ``h_n`` are tuples as for ``torch.nn.LSTM``.

    Weights have torch's names and layout, stacked over the gates in their order; diagonal gates have
    ``weight_diag_l0``. Under autocast, the recurrence runs in the precision of the weights. The output must not be
    changed in place before the backward pass, which reads it. For derivatives in forward mode, and for batched
    gradients, use ``torch.func``.

    Args:
        input_size: Features I of the input.
        hidden_size: Units H.
        bias: Whether gates have biases.
        batch_first: Whether input and output are (B, T, I) and (B, T, H) rather than (T, B, I) and (T, B, H).
        device, dtype: Device and type of the weights.

    Shapes:
        input (T, B, I), output (T, B, H), h_0 and h_n (1, B, H); without a batch (T, I), (T, H) and (1, H). Without
        h_0, the state starts at zero.

    Raises:
        ValueError: If a size is not positive.
    """

    gates: ClassVar[Mapping[str, Gate]]
    states: ClassVar[int] = 1
    biases: ClassVar[int] = 1  # 2: dense gates have a second bias, as in torch.nn
    remember: ClassVar[str | None] = None  # the gate that keeps the state when open
    overwrite: ClassVar[str | None] = None  # the gate that replaces the state when open

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ValueError(f"{name}={size}: must be at least 1")
        for name in ("remember", "overwrite"):
            gate = getattr(self, name)
            if gate is not None and gate not in self.gates:
                raise ValueError(
                    f"{type(self).__name__}.{name}={gate!r}: choose one of {', '.join(self.gates)}"
                )
        self.input_size, self.hidden_size = input_size, hidden_size
        self.bias, self.batch_first = bias, batch_first
        columns = {"weight_ih": (input_size,), "weight_hh": (hidden_size,)}
        absent = ["bias_ih", "bias_hh"] if not bias else ["bias_hh"] if self.biases == 1 else []
        for name, has_rows in members(self.gates).items():
            present = any(has_rows) and name not in absent
            shape = (sum(has_rows) * hidden_size, *columns.get(name, ()))
            weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if present else None
            self.register_parameter(f"{name}_l0", weight)
        self._elementwise: dict[bool, bool] = {}  # whether the engine can run the step, by ``training``
        self.reset_parameters()

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next state: ``step(self, h, gate)``; ``gate.f(v)`` is gate f applied to v."""
        raise NotImplementedError(f"{type(self).__name__} must define step(self, h, gate)")

    def reset_parameters(self) -> None:
        """Draw each matrix Xavier-uniform, gate by gate; set diagonal weights to 1 and biases to 0."""
        for weights in gate_weights(self).values():
            for name, weight in weights._asdict().items():
                if weight is not None and name.startswith("bias"):
                    nn.init.zeros_(weight)
                elif weight is not None:
                    nn.init.ones_(weight) if name == "weight_diag" else nn.init.xavier_uniform_(weight)

    @torch.compiler.disable  # torch.compile would trace the loop over time step by step, for each length anew
    def forward(self, input: Tensor, h_0: Any = None) -> tuple[Tensor, Any]:
        x, states = self._arguments(input, h_0)
        with torch.autocast(x.device.type, enabled=False):
            output, *final = self._run(x, states)
        if input.dim() == 2:
            output = output.squeeze(1)
        else:
            output = output.transpose(0, 1) if self.batch_first else output
            final = [state[None] for state in final]
        return output, final[0] if self.states == 1 else tuple(final)

    def _arguments(self, input: Tensor, h_0: Any) -> tuple[Tensor, list[Tensor]]:
        """Return the input as (T, B, I) and the states as (B, H), after a check."""
        if isinstance(input, PackedSequence):
            raise TypeError(f"input is a PackedSequence: {type(self).__name__} takes padded sequences only")
        shape = tuple(input.shape)
        if input.dim() not in (2, 3):
            raise ValueError(f"input has shape {shape}: must have 2 or 3 axes")
        if shape[-1] != self.input_size:  # a network may have exchanged the other axes
            raise ValueError(f"input has {shape[-1]} features: must be {self.input_size}")
        x = input.unsqueeze(1) if input.dim() == 2 else input.transpose(0, 1) if self.batch_first else input
        if len(x) == 0:
            raise ValueError(f"input has shape {shape}: must have at least 1 time step")
        size = (x.size(1), self.hidden_size)
        expected = (1, *size) if input.dim() == 3 else size
        states = [x.new_zeros(expected)] * self.states if h_0 is None else list(as_tuple(h_0))
        got = [tuple(state.shape) for state in states]
        if got != [expected] * self.states:
            raise ValueError(f"h_0 has shapes {got}: must be {self.states} of shape {expected}")
        dtype = next(self.parameters()).dtype
        for name, tensor in (("input", x), *(("h_0", state) for state in states)):
            if tensor.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
                raise ValueError(f"{name} is {tensor.dtype}: must be {dtype} like the weights")
        return x.to(dtype), [state.to(dtype).reshape(size) for state in states]

    def _run(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the output, (T, B, H), and the final states, (B, H) each."""
        arguments = self.step, self.gates, x, states, stacked_weights(self)
        if functorch_active() or torch.compiler.is_compiling():  # true in an export
            return loop(*arguments)
        new = self.training not in self._elementwise
        if new:
            self._elementwise[self.training] = _engine_agrees(self)
        if self._elementwise[self.training]:
            return scan(*arguments)
        results = loop(*arguments)  # before the warning: a step that fails raises its own error
        if new:
            warnings.warn(
                f"{type(self).__name__}.step is not elementwise, random, or has weights of its own: "
                "it runs in a plain loop, several times slower",
                stacklevel=4,
            )
        return results

    def extra_repr(self) -> str:
        bias, batch_first = (
            "" if self.bias else ", bias=False",
            ", batch_first=True" if self.batch_first else "",
        )
        return f"{self.input_size}, {self.hidden_size}{bias}{batch_first}"


def orthogonal_(matrix: Tensor) -> None:
    """Fill a matrix with a random orthogonal one, also in half precision, unlike torch's function."""
    precise = torch.empty_like(matrix, dtype=torch.promote_types(matrix.dtype, torch.float32))
    with torch.no_grad():
        matrix.copy_(nn.init.orthogonal_(precise))


def uniform_(cell: Any) -> None:
    """Draw every parameter from U(-1/sqrt(H), 1/sqrt(H)), as torch's recurrent layers do."""
    bound = 1 / math.sqrt(cell.hidden_size)
    for weight in cell.parameters():
        nn.init.uniform_(weight, -bound, bound)


def _engine_agrees(cell: GatedCell) -> bool:
    """Return whether ``scan`` equals ``loop`` on random inputs: values and all gradients, in float64.

    Inputs and states are small in one trial and large in another, since a step may mix units only at large values.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def trial(run: Callable[..., Any], x: Tensor, states: list[Tensor]) -> list[Tensor]:
        torch.default_generator.manual_seed(0)
        outputs = run(twin.step, twin.gates, x, states, stacked_weights(twin))
        weights = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view_as(o) for o in outputs]
        inputs = [x, *states, *twin.parameters()]
        return [
            *outputs,
            *torch.autograd.grad(outputs, inputs, weights, allow_unused=True, materialize_grads=True),
        ]

    try:
        with (
            torch.device("cpu"),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(devices=[]),
            saved_tensors_hooks(
                lambda saved: saved, lambda saved: saved
            ),  # checkpointing counts its own calls
        ):
            # Pruning, for example, keeps the weights beside the parameters that they are computed from.
            computed = [tensor for tensor in vars(cell).values() if isinstance(tensor, Tensor)]
            weights = {p: p.detach().to("cpu", torch.float64) for p in [*cell.parameters(), *computed]}
            memo = {id(p): nn.Parameter(w + 0.1 * noise(*w.shape)) for p, w in weights.items()}
            twin = copy.deepcopy(cell, memo).to("cpu", torch.float64)
            for scale in (1, 30):
                x = (scale * noise(3, 3, cell.input_size)).requires_grad_()
                states = [(scale * noise(3, cell.hidden_size)).requires_grad_() for _ in range(cell.states)]
                pairs = zip(trial(scan, x, states), trial(loop, x, states), strict=True)
                if not all(bool((a - b).abs().max() <= 1e-9 * (1 + b.abs().max())) for a, b in pairs):
                    return False
            return True
    except Exception:  # the engine can't run this step; if the loop can't either, it will raise
        return False
