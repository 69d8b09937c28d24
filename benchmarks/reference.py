"""The method as it is commonly written: loops over time, over sequences and over pairs of states.

The benchmarks compare the fast code with it. It uses the formulas of arXiv 2106.01001 and the random draws of our
warmup, so both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_warmup.dynamics.functional import EPSILON
from lightning_warmup.engine.gates import Weights, gate_weights


class Looped(nn.Module):
    """A cell run step by step, with the call and the shapes of a one-layer ``torch.nn.GRU``."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.cell = cell
        self.input_size = cell.input_size

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run sequences: at every step, project the input and write the state into the output."""
        weights = gate_weights(self.cell)
        h = x.new_zeros(x.size(1), self.cell.hidden_size) if h_0 is None else h_0[0]
        output = x.new_zeros(len(x), *h.shape)
        for t in range(len(x)):
            gates = {name: partial(_value, w, x[t]) for name, w in weights.items()}
            output[t] = h = self.cell.step(h, SimpleNamespace(**gates))
        return output, h.unsqueeze(0)


def _value(weights: Weights, x: Tensor, v: Tensor | None = None) -> Tensor:
    terms = []
    if weights.weight_ih is not None:
        terms.append(F.linear(x, weights.weight_ih, weights.bias_ih))
    if weights.weight_hh is not None and v is not None:
        terms.append(F.linear(v, weights.weight_hh, weights.bias_hh))
    if weights.weight_diag is not None and v is not None:
        terms.append(weights.weight_diag * v)
    return terms[0] + terms[1] if len(terms) == 2 else terms[0]


def warmup_one_by_one(layers: Sequence[Any], batches: Iterable[Tensor], longest: int) -> Iterator[float]:
    """Warm up layers in place, one sequence at a time; yield the loss of every step.

    Args:
        layers: Layers with one state each, called like torch's layers.
        batches: Sequences ``(T, N, I)`` for every step.
        longest: Step k, from 0, draws its number of constant steps from 1..min(1 + longest * k, longest).
    """
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=1e-2)
    for step, sequences in enumerate(batches):
        length, count, _ = sequences.shape
        cap = min(1 + longest * step, longest)
        stabilization = int(torch.randint(1, cap + 1, (), generator=generator))
        cuts = torch.randint(1, length + 1, (count,), generator=generator)
        losses = []
        for layer, state in zip(layers, states_one_by_one(layers, sequences, cuts), strict=True):
            input = torch.randn(layer.input_size, generator=generator)
            _, settled = layer(input.expand(stabilization, count, -1), state)
            losses.append((vaa_star_by_pairs(settled[0]) - 0.95) ** 2)
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def states_one_by_one(layers: Sequence[Any], sequences: Tensor, cuts: Tensor) -> list[Tensor]:
    """Return the state ``(1, N, H)`` of each layer after the first steps of every sequence, with gradients."""
    states: list[list[Tensor]] = [[] for _ in layers]
    for row, cut in enumerate(cuts.tolist()):
        output = sequences[:cut, row : row + 1]
        for layer, found in zip(layers, states, strict=True):
            output, state = layer(output)
            found.append(state)
    return [torch.cat(found, dim=1) for found in states]


def vaa_star_by_pairs(states: Tensor) -> Tensor:
    """Return VAA* of states ``(N, H)``, one distance at a time."""
    points = torch.tanh(states)
    shares = []
    for one in points:
        distances = torch.stack([torch.linalg.vector_norm(one - other) for other in points])
        closeness = 1 - torch.relu(distances - EPSILON) / (distances + 1e-6)
        shares.append(1 / closeness.sum())
    return torch.stack(shares).mean()
