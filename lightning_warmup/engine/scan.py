"""The sequence engine: runs a recurrent step over time, with a gradient derived from the step.

``loop`` runs a step in a plain loop under autograd. ``scan`` gives the same numbers several times faster and in
less memory: its forward pass saves only the gates' values and the states, and its backward pass is in
:mod:`lightning_warmup.engine.backward`.

Shapes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden, ``C`` steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_warmup.engine.backward import Backward, Saved, is_constant
from lightning_warmup.engine.gates import Gate, Inputs, Step, Weights, as_tuple, split

STEPS = 40  # the most steps of a chunk
FEWEST = 10  # the fewest steps of a chunk, however large they are
ENTRIES = (
    204_800  # of a chunk's buffer: a larger one leaves the cache, and goes back to the system when freed
)


class _Named(SimpleNamespace):
    """The gates of a step by name."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no gate {name!r}, only {', '.join(vars(self))}")


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return f"states of shape {', '.join(map(str, shapes))}"


def loop(
    step: Step, gates: Mapping[str, Gate], x: Tensor, states: Sequence[Tensor], stacked: Weights
) -> tuple[Tensor, ...]:
    """Run a step over time under plain autograd: the reference, for any step and derivatives of any order.

    Args:
        step: ``step(*states, gate)`` returns the next state or a tuple of states; ``gate.f(v)`` is gate f.
        gates: The gates by name.
        x: Inputs, (T, B, I).
        states: Initial states, (B, H) each.
        stacked: Weights, stacked over the gates.

    Returns:
        The first state after every step, (T, B, H), and the final states, (B, H) each.

    Raises:
        AttributeError: If the step calls a gate that there is not.
        ValueError: If the step returns states of another number or shape.
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
    outputs, wanted = [], [tuple(state.shape) for state in states]
    for _, *row in zip(range(len(x)), *projections, strict=False):
        gate = {name: partial(value, w, p) for (name, w), p in zip(parts.items(), row, strict=True)}
        states = as_tuple(step(*states, _Named(**gate)))
        if (found := [tuple(s.shape) for s in states]) != wanted:
            raise ValueError(f"step: must return {_shapes(wanted)}, not {_shapes(found)}")
        outputs.append(states[0])
    return torch.stack(outputs), *states


def scan(
    step: Step, gates: Mapping[str, Gate], x: Tensor, states: Sequence[Tensor], stacked: Weights
) -> tuple[Tensor, ...]:
    """Run an elementwise step over time: arguments, values and gradients of ``loop``, several times faster.

    The step must not mix units, sequences or time steps. It must call each gate exactly once, draw no random
    numbers and have no weights of its own. An input that is constant in time (``x.stride(0) == 0``) is projected
    only once. Higher-order derivatives go through ``loop``.
    """
    inputs = Inputs(x, stacked, states)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs.flat()):
        return _Scan.apply(step, gates, *inputs.flat())
    return _forward(step, gates, inputs, save=False)[0]


class _Scan(torch.autograd.Function):
    """``scan`` as an autograd function, which takes and returns single tensors."""

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
        tensors = iter(ctx.saved_tensors)
        inputs = Inputs.from_flat([next(tensors) for _ in range(ctx.count)])
        needs = Inputs.from_flat(ctx.needs_input_grad[2:])
        with torch.autocast(inputs.x.device.type, enabled=False):
            if torch.is_grad_enabled():  # a higher-order derivative is needed
                return None, None, *_differentiable(ctx.step, ctx.gates, inputs, needs, gradients)
            output, *saved = tensors
            count, size = len(ctx.gates), len(ctx.gates) + len(inputs.states) - 1
            chunks = [saved[i : i + size] for i in range(0, len(saved), size)]
            backward = Backward(ctx.step, ctx.gates, inputs, needs)
            found = backward.run(output, [Saved(c[:count], c[count:]) for c in chunks], gradients)
            return None, None, *found.flat()


def _differentiable(
    step: Step, gates: Mapping[str, Gate], inputs: Inputs, needs: Inputs, gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of the inputs through ``loop``, so that they can be differentiated again."""
    # A view has no way to the others: an input may have been computed from another one.
    inputs = Inputs.from_flat(
        [None if tensor is None else tensor.view_as(tensor) for tensor in inputs.flat()]
    )
    pairs = zip(loop(step, gates, inputs.x, inputs.states, inputs.weights), gradients, strict=True)
    results, weights = zip(*[(result, g) for result, g in pairs if g is not None], strict=True)
    wanted = [tensor for tensor, need in zip(inputs.flat(), needs.flat(), strict=True) if need]
    found = iter(torch.autograd.grad(results, wanted, weights, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needs.flat()]


def _forward(
    step: Step, gates: Mapping[str, Gate], inputs: Inputs, save: bool
) -> tuple[tuple[Tensor, ...], list[Saved]]:
    """Return the results of ``loop``, and what the backward pass needs, chunk by chunk."""
    x, states = inputs.x, inputs.states
    projected, size = _projections(gates, inputs), states[0].shape
    steps = min(STEPS, len(x), max(FEWEST, ENTRIES // max(1, size.numel())))
    output = x.new_empty(len(x), *size)
    buffers: list[Tensor] = []
    saved = []
    for chunk, out in zip(x.split(steps), output.split(steps), strict=True):
        if save or not buffers:
            buffers = [x.new_empty(len(chunk), *size) for _ in gates]
        values = [p.values(chunk, buffer) for p, buffer in zip(projected, buffers, strict=True)]
        rows = [iter(value.unbind(0)) for value in values]
        named = zip(gates, projected, rows, strict=True)
        gate = SimpleNamespace(**{name: projection.gate(row) for name, projection, row in named})
        trail = [tuple(states)]
        with torch.inference_mode():  # saves autograd's work at every operation
            for _ in range(len(chunk)):
                trail.append(as_tuple(step(*trail[-1], gate)))
        if any(next(row, None) is not None for row in rows):
            raise RuntimeError("a step must call each of its gates exactly once")
        torch.stack([row[0] for row in trail[1:]], out=out)
        if save:
            others = [torch.stack([row[i] for row in trail[:-1]]) for i in range(1, len(states))]
            saved.append(Saved(values, others))
        states = [state.clone() for state in trail[-1]]  # a step may return its gate's buffer
    return (output, *states), saved


class _Projection(NamedTuple):
    """A gate in the forward pass."""

    weights: Weights
    bias: Tensor  # (H,), the sum of both biases
    recurrent: Tensor | None  # (H, H), a contiguous transpose, which makes the product of a step faster
    fixed: Tensor | None  # projection of the input plus bias, if it is constant in time

    def values(self, x: Tensor, buffer: Tensor) -> Tensor:
        """Return the tensor for the gate's values at inputs (C, B, I): the buffer, if one is needed."""
        value, weight = buffer[: len(x)], self.weights.weight_ih
        if self.fixed is not None:
            return self.fixed.expand_as(value) if self.recurrent is None else value.copy_(self.fixed)
        assert weight is not None
        torch.addmm(self.bias, x.flatten(0, 1), weight.t(), out=value.flatten(0, 1))
        return value

    def gate(self, rows: Iterator[Tensor]) -> Callable[..., Tensor]:
        """Return the function that a step calls. It adds U v to the gate's row in place."""
        weight, diagonal = self.recurrent, self.weights.weight_diag
        if weight is not None:
            return lambda v: next(rows).addmm_(v, weight)
        if diagonal is not None:
            return lambda v: torch.addcmul(next(rows), diagonal, v)
        return lambda v=None: next(rows)


def _projections(gates: Mapping[str, Gate], inputs: Inputs) -> list[_Projection]:
    projections = []
    for w in split(gates, inputs.weights).values():
        biases = [b for b in (w.bias_ih, w.bias_hh) if b is not None]
        bias = sum(biases[1:], biases[0]) if biases else inputs.x.new_zeros(inputs.states[0].size(-1))
        recurrent = None if w.weight_hh is None else w.weight_hh.t().contiguous()
        fixed = bias if w.weight_ih is None else None
        if w.weight_ih is not None and is_constant(inputs.x):
            fixed = torch.addmm(bias, inputs.x[0], w.weight_ih.t())
        projections.append(_Projection(w, bias, recurrent, fixed))
    return projections
