"""The sequence engine: runs a recurrent step over time, with a gradient derived from the step itself.

``loop`` runs a step as anybody would and leaves the gradient to autograd. ``scan`` gives the same numbers
several times faster and in less memory: its forward pass saves nothing but the gates' values and the states,
and its backward pass is that of :mod:`lightning_warmup.engine.backward`.

Shapes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden, ``C`` steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_warmup.engine.backward import Backward, Saved, is_constant
from lightning_warmup.engine.gates import Gate, Inputs, Step, Weights, as_tuple, split

STEPS = 40  # of a chunk at most
FEWEST = 10  # of a chunk, however large its steps are
ENTRIES = 204_800  # of a chunk's buffer: larger ones leave the cache and go back to the system when freed


def loop(
    step: Step, gates: Mapping[str, Gate], x: Tensor, states: Sequence[Tensor], stacked: Weights
) -> tuple[Tensor, ...]:
    """Run a step over time under plain autograd: the reference, for any step and any order of derivative.

    Args:
        step: Returns the next state, or a tuple of them, for ``step(*states, gate)``; ``gate.f(v)`` is gate f.
        gates: The gates by name.
        x: Inputs, (T, B, I).
        states: Initial states, (B, H) each.
        stacked: Weights, stacked over the gates.

    Returns:
        The first state after every step, (T, B, H), and the final states, (B, H) each.
    """

    def value(weights: Weights, projection: Any, v: Any = None) -> Tensor:
        if weights.weight_hh is not None:
            recurrent = F.linear(v, weights.weight_hh, weights.bias_hh)
            return recurrent if projection is None else projection + recurrent
        return projection if weights.weight_diag is None else projection + weights.weight_diag * v

    parts = split(gates, stacked)
    projections: list[Iterable[Tensor | None]] = [
        repeat(None) if w.weight_ih is None else F.linear(x, w.weight_ih, w.bias_ih).unbind(0)
        for w in parts.values()
    ]
    outputs = []
    for _, *row in zip(range(len(x)), *projections, strict=False):
        gate = {name: partial(value, w, p) for (name, w), p in zip(parts.items(), row, strict=True)}
        states = as_tuple(step(*states, SimpleNamespace(**gate)))
        outputs.append(states[0])
    return torch.stack(outputs), *states


def scan(
    step: Step, gates: Mapping[str, Gate], x: Tensor, states: Sequence[Tensor], stacked: Weights
) -> tuple[Tensor, ...]:
    """Run an elementwise step over time: ``loop``'s arguments, values and gradients, several times faster.

    The step must keep units, sequences and time steps apart, call each gate exactly once, draw no random
    numbers and hold no weights of its own. An input that is constant in time (``x.stride(0) == 0``) is
    projected once. Derivatives of higher order are taken through ``loop``.
    """
    inputs = Inputs(x, stacked, states)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs.flat()):
        return _Scan.apply(step, gates, *inputs.flat())
    return _forward(step, gates, inputs, save=False)[0]


class _Scan(torch.autograd.Function):
    """``scan`` for autograd, which takes and returns tensors one by one."""

    @staticmethod
    def forward(ctx: Any, step: Step, gates: Mapping[str, Gate], *tensors: Any) -> tuple[Tensor, ...]:
        results, saved = _forward(step, gates, Inputs.from_flat(tensors), save=True)
        ctx.step, ctx.gates, ctx.count = step, gates, len(tensors)
        chunks = (tensor for chunk in saved for tensor in (*chunk.values, *chunk.states))
        ctx.save_for_backward(*tensors, results[0], *chunks)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        tensors = ctx.saved_tensors
        inputs, output, saved = (
            Inputs.from_flat(tensors[: ctx.count]),
            tensors[ctx.count],
            tensors[ctx.count + 1 :],
        )
        needs = Inputs.from_flat(ctx.needs_input_grad[2:])
        with torch.autocast(inputs.x.device.type, enabled=False):
            if torch.is_grad_enabled():  # a derivative of higher order is wanted
                return None, None, *_differentiable(ctx.step, ctx.gates, inputs, needs, gradients)
            count, size = len(ctx.gates), len(ctx.gates) + len(inputs.states) - 1
            chunks = [saved[i : i + size] for i in range(0, len(saved), size)]
            backward = Backward(ctx.step, ctx.gates, inputs, needs)
            found = backward.run(output, [Saved(c[:count], c[count:]) for c in chunks], gradients)
            return None, None, *found.flat()


def _differentiable(
    step: Step, gates: Mapping[str, Gate], inputs: Inputs, needs: Inputs, gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of the inputs, through ``loop``, such that they can be differentiated again."""
    pairs = zip(loop(step, gates, inputs.x, inputs.states, inputs.weights), gradients, strict=True)
    results, weights = zip(*[(result, g) for result, g in pairs if g is not None], strict=True)
    wanted = [tensor for tensor, need in zip(inputs.flat(), needs.flat(), strict=True) if need]
    found = iter(torch.autograd.grad(results, wanted, weights, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needs.flat()]


class _Dense:
    """A dense gate along a chunk. U v is added in the gate's own buffer, which so comes to hold its value."""

    def __init__(self, rows: Iterable[Tensor], weight: Tensor) -> None:
        self.rows, self.weight = iter(rows), weight

    def __call__(self, v: Tensor) -> Tensor:
        return next(self.rows).addmm_(v, self.weight)


class _Elementwise:
    """A gate along a chunk whose recurrence is diagonal, or that has none."""

    def __init__(self, rows: Iterable[Tensor], weight: Tensor | None) -> None:
        self.rows, self.weight = iter(rows), weight

    def __call__(self, v: Tensor | None = None) -> Tensor:
        row = next(self.rows)
        return row if self.weight is None or v is None else torch.addcmul(row, self.weight, v)


class _Gates:
    """The gates in the forward pass, chunk by chunk."""

    def __init__(self, gates: Mapping[str, Gate], inputs: Inputs) -> None:
        x, hidden_size = inputs.x, inputs.states[0].size(-1)
        self.x, self.size, self.parts = x, (x.size(1), hidden_size), split(gates, inputs.weights)
        self.steps = min(STEPS, len(x), max(FEWEST, ENTRIES // max(1, x.size(1) * hidden_size)))
        self.recurrent: dict[str, Tensor] = {}
        self.bias: dict[str, Tensor] = {}
        self.fixed: dict[str, Tensor] = {}  # projections that do not change in time
        for name, w in self.parts.items():
            biases = [b for b in (w.bias_ih, w.bias_hh) if b is not None]
            self.bias[name] = sum(biases[1:], biases[0]) if biases else x.new_zeros(hidden_size)
            if w.weight_hh is not None:  # the product of a step is faster with a contiguous transpose
                self.recurrent[name] = w.weight_hh.t().contiguous()
            if w.weight_ih is None:
                self.fixed[name] = self.bias[name]
            elif is_constant(x):
                self.fixed[name] = torch.addmm(self.bias[name], x[0], w.weight_ih.t())

    def buffers(self, steps: int) -> list[Tensor]:
        """Return room for the values of the gates along a chunk, (C, B, H) each."""
        return [self.x.new_empty(steps, *self.size) for _ in self.parts]

    def chunk(self, x: Tensor, buffers: Sequence[Tensor]) -> tuple[SimpleNamespace, list[Tensor]]:
        """Return the gates for inputs x, (C, B, I), and the tensors that will hold their values."""
        gates: dict[str, _Dense | _Elementwise] = {}
        values = []
        for (name, w), buffer in zip(self.parts.items(), buffers, strict=True):
            value = buffer[: len(x)]
            if w.weight_ih is not None and name not in self.fixed:
                torch.addmm(self.bias[name], x.flatten(0, 1), w.weight_ih.t(), out=value.flatten(0, 1))
            elif w.weight_hh is None:
                value = self.fixed[name].expand_as(value)
            else:
                value.copy_(self.fixed[name])
            rows = value.unbind(0)
            recurrent = self.recurrent.get(name)
            gates[name] = _Elementwise(rows, w.weight_diag) if recurrent is None else _Dense(rows, recurrent)
            values.append(value)
        return SimpleNamespace(**gates), values


def _forward(
    step: Step, gates: Mapping[str, Gate], inputs: Inputs, save: bool
) -> tuple[tuple[Tensor, ...], list[Saved]]:
    """Return ``loop``'s results, and for each chunk what the backward pass needs."""
    x, states = inputs.x, inputs.states
    projected = _Gates(gates, inputs)
    output = x.new_empty(len(x), *projected.size)
    buffers = projected.buffers(0 if save else projected.steps)
    saved = []
    for chunk, out in zip(x.split(projected.steps), output.split(projected.steps), strict=True):
        gate, values = projected.chunk(chunk, projected.buffers(len(chunk)) if save else buffers)
        trail = [tuple(states)]
        with torch.inference_mode():  # no bookkeeping of autograd's at every operation
            for _ in range(len(chunk)):
                trail.append(as_tuple(step(*trail[-1], gate)))
        if any(next(called.rows, None) is not None for called in vars(gate).values()):
            raise RuntimeError("a step must call each of its gates exactly once")
        torch.stack([row[0] for row in trail[1:]], out=out)
        if save:
            others = [torch.stack([row[i] for row in trail[:-1]]) for i in range(1, len(states))]
            saved.append(Saved(values, others))
        states = [state.clone() for state in trail[-1]]  # a step may return its gate's buffer
    return (output, *states), saved
