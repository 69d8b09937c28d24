"""The backward pass of :func:`lightning_warmup.engine.scan.scan`, derived from the step.

Let a_g be the value of gate g, v_g what it is applied to, h the states before a step and h' those after it.
The derivatives

    dh'/dh,  dh'/da_g,  dv_g/dh,  dv_g/da_k      (gate k is called before gate g)

are diagonal, so one evaluation of the step on a chunk of steps gives them for the whole chunk. Then only this is
sequential, from the last step to the first, and within a step from the last gate called to the first:

    delta_g = adjoint(h') dh'/da_g + sum_k mu_k dv_k/da_g          adjoint of a_g
    mu_g = delta_g U_g                                             adjoint of v_g
    adjoint(h) = gradient(h) + adjoint(h') dh'/dh + sum_g mu_g dv_g/dh

The gradients of the weights are matrix products of delta over the chunk.

Shapes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden, ``C`` steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_warmup.engine.denormals import shrink
from lightning_warmup.engine.gates import Gate, Inputs, Step, Weights, as_tuple, split

Rows = Sequence[Tensor]  # a (C, B, H) tensor, split into its steps


class Saved(NamedTuple):
    """What the forward pass saves of a chunk, (C, B, H) each; the first state is in the output."""

    values: Sequence[Tensor]  # of the gates
    states: Sequence[Tensor]  # all but the first, before every step


class Backward:
    """The backward pass of one scan, chunk by chunk from the last; ``needs`` tells which gradients to compute."""

    def __init__(self, step: Step, gates: Mapping[str, Gate], inputs: Inputs, needs: Inputs) -> None:
        self.step, self.inputs, self.needs = step, inputs, needs
        self.x_gradient = inputs.x.new_zeros(inputs.x.shape) if needs.x else None
        wanted = zip(inputs.weights, needs.weights, strict=True)
        self.gradients = Weights(
            *(w.new_zeros(w.shape) if need and w is not None else None for w, need in wanted)
        )
        self.weights, self.gate_gradients = split(gates, inputs.weights), split(gates, self.gradients)

    def run(self, output: Tensor, saved: Sequence[Saved], gradients: Sequence[Tensor | None]) -> Inputs:
        """Return the gradient of every input, or None if it is not needed.

        Args:
            output: The first state after every step, (T, B, H).
            saved: What the forward pass saved, chunk by chunk.
            gradients: Gradients of the output and of the final states; None stands for zero.
        """
        of_output, *of_final = gradients
        pairs = zip(self.inputs.states, of_final, strict=True)
        carried = [torch.zeros_like(state) if g is None else g for state, g in pairs]
        if of_output is not None:
            carried[0] = carried[0] + of_output[-1]
        initial = self.inputs.states[0].unsqueeze(0)
        stop = len(output)
        for values, others in reversed(saved):
            start = stop - len(values[0])
            first = output[start - 1 : stop - 1] if start else torch.cat((initial, output[: stop - 1]))
            chunk = _Chunk(self.step, self.weights, [first, *others], values)
            for adjoint, state in zip(chunk.adjoints, carried, strict=True):
                adjoint[-1] = state
            if of_output is not None:
                after = max(start, 1)  # the initial state has no output
                chunk.adjoints[0][after - start : -1] = of_output[after - 1 : stop - 1]
            chunk.sweep()
            self._collect(chunk, slice(start, stop))
            carried = [shrink(adjoint[0]) for adjoint in chunk.adjoints]
            stop = start
        of_initial = [g if need else None for g, need in zip(carried, self.needs.states, strict=True)]
        return Inputs(self.x_gradient, self.gradients, of_initial)

    def _collect(self, chunk: _Chunk, steps: slice) -> None:
        """Add the contribution of a chunk to the gradients of x and of the weights."""
        constant = is_constant(self.inputs.x)
        x = self.inputs.x[0] if constant else self.inputs.x[steps].flatten(0, 1)
        for name, call in chunk.gates.items():
            if call.delta is None:
                continue
            weight_ih, gradients = self.weights[name].weight_ih, self.gate_gradients[name]
            delta = call.delta.flatten(0, 1)
            for bias in (gradients.bias_ih, gradients.bias_hh):
                if bias is not None:
                    bias += delta.sum(0)
            if gradients.weight_ih is not None:
                gradients.weight_ih.addmm_((call.delta.sum(0) if constant else delta).t(), x)
            if self.x_gradient is not None and weight_ih is not None:
                self.x_gradient[steps].flatten(0, 1).addmm_(delta, weight_ih)
            if gradients.weight_hh is not None and call.argument is not None:
                gradients.weight_hh.addmm_(delta.t(), call.argument.detach().flatten(0, 1))
            if gradients.weight_diag is not None and call.argument is not None:
                gradients.weight_diag.add_((call.delta * call.argument.detach()).sum((0, 1)))


def is_constant(x: Tensor) -> bool:
    """Return whether inputs (T, B, I) are one expanded time step."""
    return len(x) > 1 and x.stride(0) == 0


class _Call:
    """A gate in the backward pass: returns its saved value as a leaf, and keeps its argument."""

    def __init__(self, value: Tensor, weights: Weights, order: Iterator[int]) -> None:
        self.weights, self.order = weights, order
        self.leaf = value.detach().requires_grad_()
        self.place = -1  # in the order of calls
        self.argument: Tensor | None = None
        self.state: int | None = None  # the number of the state that is the argument, None if it is computed
        self.partials: Sequence[Tensor | None] = ()  # derivatives of a computed argument by the leaves
        self.delta: Tensor | None = None  # (C, B, H); None if nothing depends on the gate

    def __call__(self, v: Tensor | None = None) -> Tensor:
        self.argument, self.place = v, next(self.order)
        diagonal = self.weights.weight_diag
        return self.leaf if diagonal is None or v is None else torch.addcmul(self.leaf, diagonal, v)


class _Source(NamedTuple):
    """A result or an argument that the step computes: its adjoint, (C, B, H), and derivatives by the leaves."""

    adjoint: Tensor
    rows: Rows  # of the adjoint
    partials: Sequence[Tensor | None]


class _Chunk:
    """A step linearised along one chunk, with the adjoints of its states.

    ``adjoints[i][k]`` is the adjoint of state i before step k; the last row belongs to the final state.
    """

    def __init__(
        self, step: Step, weights: Mapping[str, Weights], previous: Sequence[Tensor], values: Sequence[Tensor]
    ) -> None:
        self.adjoints = [state.new_zeros(len(state) + 1, *state.shape[1:]) for state in previous]
        with torch.enable_grad():
            states = [state.detach().requires_grad_() for state in previous]
            pairs, order = zip(weights.items(), values, strict=True), count()
            self.gates = {name: _Call(value, parts, order) for (name, parts), value in pairs}
            results = as_tuple(step(*states, SimpleNamespace(**self.gates)))
            self.calls = sorted(self.gates.values(), key=lambda call: call.place)
            leaves = [*states, *(call.leaf for call in self.calls)]
            self.partials = [_partials(result, leaves) for result in results]
            for call in self.calls:
                call.state = next((i for i, state in enumerate(states) if call.argument is state), None)
                if call.weights.weight_hh is not None and call.state is None:
                    call.partials = _partials(call.argument, leaves)

    def sweep(self) -> None:
        """Carry the adjoints from the last step to the first, and set ``delta`` of every gate."""
        before = [adjoint.unbind(0) for adjoint in self.adjoints]
        triples = zip(self.adjoints, before, self.partials, strict=True)
        sources = [_Source(adjoint[1:], rows[1:], partials) for adjoint, rows, partials in triples]
        dense = []
        for leaf, call in reversed([*enumerate(self.calls, len(before))]):
            weight, terms = call.weights.weight_hh, _terms(sources, leaf)
            if weight is None or not terms:
                continue
            if call.state is None:
                mu = torch.zeros_like(call.leaf)
                sources.append(_Source(mu, mu.unbind(0), call.partials))
            target = sources[-1].rows if call.state is None else before[call.state]
            (first, partial), *others = terms
            call.delta = torch.stack(list(partial))  # starts as the derivative in the first term
            dense.append((call.delta.unbind(0), first, others, weight, target))
        states = [(rows, *term) for leaf, rows in enumerate(before) for term in _terms(sources, leaf)]
        with torch.inference_mode():
            for k in reversed(range(len(before[0]) - 1)):
                for delta, first, others, weight, target in dense:
                    row = delta[k].mul_(first[k])
                    for adjoint, partial in others:
                        row.addcmul_(adjoint[k], partial[k])
                    target[k].addmm_(row, weight)
                for rows, adjoint, partial in states:
                    rows[k].addcmul_(adjoint[k], partial[k])
        for leaf, call in enumerate(self.calls, len(before)):
            products = [s.adjoint * p for s in sources if (p := s.partials[leaf]) is not None]
            if call.weights.weight_hh is None and products:
                call.delta = sum(products[1:], products[0])


def _terms(sources: Sequence[_Source], leaf: int) -> list[tuple[Rows, Rows]]:
    """Return the adjoint and derivative, step by step, of all sources that depend on a leaf."""
    return [(s.rows, p.unbind(0)) for s in sources if (p := s.partials[leaf]) is not None]


def _partials(target: Tensor | None, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Return the elementwise derivatives of target by every leaf, or None where there is no dependence."""
    if target is None or not target.requires_grad:
        return [None] * len(leaves)
    return torch.autograd.grad(target, leaves, torch.ones_like(target), retain_graph=True, allow_unused=True)
