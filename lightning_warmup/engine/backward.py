"""The backward pass of :func:`lightning_warmup.engine.scan.scan`, derived from the step.

Let a_g be the value of gate g, v_g what it is applied to, h the states before a step and h' those after it.
The derivatives

    dh'/dh,  dh'/da_g,  dv_g/dh,  dv_g/da_k      (gate k called before gate g)

are diagonal, so one evaluation of the step on a chunk of steps yields them for the whole chunk. Then, from
the last step to the first, and in a step from the last gate called to the first,

    delta_g = adjoint(h') dh'/da_g + sum_k mu_k dv_k/da_g          adjoint of a_g
    mu_g = delta_g U_g                                             adjoint of v_g
    adjoint(h) = gradient(h) + adjoint(h') dh'/dh + sum_g mu_g dv_g/dh

is all that is sequential. The gradients of the weights are matrix products of delta over the chunk.

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
from lightning_warmup.engine.gates import Gate, Step, Weights, as_tuple, split

Rows = Sequence[Tensor]  # a (C, B, H) tensor step by step


class _Call:
    """A gate in the backward pass: gives its saved value as a leaf and notes what it is applied to."""

    def __init__(self, value: Tensor, weights: Weights, order: Iterator[int]) -> None:
        self.weights, self.order = weights, order
        self.leaf = value.detach().requires_grad_()
        self.place = -1  # in the order of calls
        self.argument: Tensor | None = None
        self.state: int | None = None  # which state the argument is, None if it is computed
        self.partials: Sequence[Tensor | None] = ()  # of a computed argument, by the leaves
        self.delta: Tensor | None = None  # (C, B, H); None where nothing depends on the gate

    def __call__(self, v: Tensor | None = None) -> Tensor:
        self.argument, self.place = v, next(self.order)
        diagonal = self.weights.weight_diag
        return self.leaf if diagonal is None or v is None else torch.addcmul(self.leaf, diagonal, v)


class _Chunk:
    """A step linearised along one chunk, with the adjoints of its states.

    ``adjoints[i][k]`` is the adjoint of state i before step k; its last row is that of the final state.
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
        """Carries the adjoints from the last step to the first, and sets ``delta`` of every gate."""
        before = [adjoint.unbind(0) for adjoint in self.adjoints]
        sources = [
            _Source(adjoint[1:], rows[1:], partials)
            for adjoint, rows, partials in zip(self.adjoints, before, self.partials, strict=True)
        ]
        gates = []
        for leaf, call in reversed([*enumerate(self.calls, len(before))]):
            weight, terms = call.weights.weight_hh, _terms(sources, leaf)
            if weight is None or not terms:
                continue
            if call.state is None:
                mu = torch.zeros_like(call.leaf)
                sources.append(_Source(mu, mu.unbind(0), call.partials))
            target = sources[-1].rows if call.state is None else before[call.state]
            (adjoint, partial), *others = terms
            call.delta = torch.stack(list(partial))  # to be multiplied step by step, in place
            gates.append((call.delta.unbind(0), adjoint, others, weight, target))
        states = [(rows, *term) for leaf, rows in enumerate(before) for term in _terms(sources, leaf)]
        with torch.inference_mode():
            for k in reversed(range(len(before[0]) - 1)):
                for delta, adjoint, others, weight, target in gates:
                    row = delta[k].mul_(adjoint[k])
                    for adjoint, partial in others:
                        row.addcmul_(adjoint[k], partial[k])
                    target[k].addmm_(row, weight)
                for rows, adjoint, partial in states:
                    rows[k].addcmul_(adjoint[k], partial[k])
        for leaf, call in enumerate(self.calls, len(before)):
            products = [s.adjoint * p for s in sources if (p := s.partials[leaf]) is not None]
            if call.weights.weight_hh is None and products:
                call.delta = sum(products[1:], products[0])


class _Source(NamedTuple):
    """An adjoint, whole and step by step, and the partial derivatives that it is to be multiplied by."""

    adjoint: Tensor  # (C, B, H)
    rows: Rows
    partials: Sequence[Tensor | None]


def _terms(sources: Sequence[_Source], leaf: int) -> list[tuple[Rows, Rows]]:
    """Returns the products that make up the adjoint of a leaf, but for those with recurrent matrices."""
    return [(s.rows, p.unbind(0)) for s in sources if (p := s.partials[leaf]) is not None]


def _partials(target: Tensor | None, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Returns the derivative of each entry of target by the entry of every leaf at the same place."""
    if target is None or not target.requires_grad:
        return [None] * len(leaves)
    return torch.autograd.grad(target, leaves, torch.ones_like(target), retain_graph=True, allow_unused=True)


class Adjoint:
    """The backward pass of one scan, from the last chunk to the first.

    Args:
        step: the step.
        gates: the gates by name.
        x: inputs, (T, B, I).
        states: initial states, (B, H) each.
        stacked: weights, stacked over the gates.
        needs: for x, each of the weights and each of the states, whether its gradient is wanted.
    """

    def __init__(
        self,
        step: Step,
        gates: Mapping[str, Gate],
        x: Tensor,
        states: Sequence[Tensor],
        stacked: Weights,
        needs: Sequence[bool],
    ) -> None:
        self.step, self.x, self.states = step, x, states
        self.weights = split(gates, stacked)
        self.x_gradient = x.new_zeros(x.shape) if needs[0] else None
        wanted = zip(stacked, needs[1:6], strict=True)
        zeros = [w.new_zeros(w.shape) if need and w is not None else None for w, need in wanted]
        self.stacked = Weights(*zeros)
        self.gradients = split(gates, self.stacked)
        self.states_wanted = needs[6:]

    def run(
        self, output: Tensor, saved: Sequence[Sequence[Tensor]], gradients: Sequence[Tensor | None]
    ) -> tuple[Tensor | None, ...]:
        """Returns the gradients of x, the weights and the states; None where not wanted.

        Args:
            output: the first state after every step, (T, B, H).
            saved: for each chunk the values of the gates, then the other states before every step, (C, B, H).
            gradients: those of the output and of the final states; None stands for zero.
        """
        of_output, *of_states = gradients
        pairs = zip(self.states, of_states, strict=True)
        carried = [state.new_zeros(state.shape) if g is None else g for state, g in pairs]
        if of_output is not None:
            carried[0] = carried[0] + of_output[-1]
        stop = len(output)
        for kept in reversed(saved):
            values, others = kept[: len(self.weights)], kept[len(self.weights) :]
            start = stop - len(values[0])
            before = output[start - 1 : stop - 1]
            if start == 0:
                before = torch.cat((self.states[0].unsqueeze(0), output[: stop - 1]))
            chunk = _Chunk(self.step, self.weights, [before, *others], values)
            for adjoint, state in zip(chunk.adjoints, carried, strict=True):
                adjoint[-1] = state
            if of_output is not None:
                inner = slice(max(start, 1) - 1, stop - 1)  # the initial state has no output
                chunk.adjoints[0][inner.start + 1 - start : -1] = of_output[inner]
            chunk.sweep()
            self._collect(chunk, self.x[start:stop], slice(start, stop))
            carried = [shrink(adjoint[0]) for adjoint in chunk.adjoints]
            stop = start
        of_initial = (g if wanted else None for g, wanted in zip(carried, self.states_wanted, strict=True))
        return self.x_gradient, *self.stacked, *of_initial

    def _collect(self, chunk: _Chunk, x: Tensor, steps: slice) -> None:
        """Adds what a chunk contributes to the gradients of its inputs x, (C, B, I), and of the weights."""
        constant = len(self.x) > 1 and self.x.stride(0) == 0
        inputs = x[0] if constant else x.flatten(0, 1)
        for name, call in chunk.gates.items():
            if call.delta is None:
                continue
            weight_ih, gradients = self.weights[name].weight_ih, self.gradients[name]
            delta = call.delta.flatten(0, 1)
            for bias in (gradients.bias_ih, gradients.bias_hh):
                if bias is not None:
                    bias += delta.sum(0)
            if gradients.weight_ih is not None:
                gradients.weight_ih.addmm_((call.delta.sum(0) if constant else delta).t(), inputs)
            if self.x_gradient is not None and weight_ih is not None:
                self.x_gradient[steps].flatten(0, 1).addmm_(delta, weight_ih)
            if gradients.weight_hh is not None and call.argument is not None:
                gradients.weight_hh.addmm_(delta.t(), call.argument.detach().flatten(0, 1))
            if gradients.weight_diag is not None and call.argument is not None:
                gradients.weight_diag.add_((call.delta * call.argument.detach()).sum((0, 1)))
