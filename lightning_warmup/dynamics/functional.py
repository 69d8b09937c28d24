"""The number of equilibria in which the states of a recurrent network settle (arXiv 2106.01001, sections 3 and 4).

These are pure functions of settled states ``(N, H)``: N input sequences lead to N states, and each state then reads
the same long constant input. Distances are Euclidean, in float32 or better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-4
"""Distance below which two settled states count as one place."""

REST_TOLERANCE = 1e-6
"""Largest relative change of a resting unit in one more step."""

LEFT = 1e-3
"""Two histories count as forgotten when this share of their distance is left."""


def vaa(states: Tensor, epsilon: float = EPSILON) -> Tensor:
    r"""Return the variability among attractors: the number of places where the states end, divided by N.

    .. math:: \mathrm{VAA} = \frac{1}{N} \sum_i \frac{1}{\#\{j : \lVert z_i - z_j \rVert < \epsilon\}}

    If "closer than epsilon" is transitive, this is that number exactly. It lies in
    [1/N, 1], so compare values only at equal N.

    Args:
        states: Settled states, ``(N, H)``. A state that is not finite counts as a separate place.
        epsilon: Distance below which two states are in the same place.

    Raises:
        ValueError: If ``states`` is not a non-empty matrix or ``epsilon`` is not positive.

    Examples:
        >>> vaa(torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
        tensor(0.5000)
    """
    distances = _distances(states, epsilon)
    close = (distances < epsilon).sum(1, dtype=distances.dtype)
    return (1 / close.clamp(min=1)).mean()


def resting_vaa(states: Tensor, resting: Tensor, epsilon: float = EPSILON) -> Tensor:
    r"""Return the number of distinct equilibria of the resting states, divided by the number of all, in [0, 1].

    .. math:: \frac{1}{N} \sum_{i \in R} \frac{1}{\#\{j \in R : \lVert z_i - z_j \rVert < \epsilon\}}

    Drift, cycles and chaos raise the plain VAA, but not this one.

    Args:
        states: As for :func:`vaa`.
        resting: Which states are at rest, boolean, ``(N,)``, see :func:`at_rest`.
        epsilon: As for :func:`vaa`.

    Raises:
        ValueError: As :func:`vaa`.

    Examples:
        >>> resting_vaa(torch.tensor([[0.0], [1.0]]), torch.tensor([True, False]))
        tensor(0.5000)
    """
    distances = _distances(states, epsilon)
    close = ((distances < epsilon) & resting).sum(1, dtype=distances.dtype)
    return (resting / close.clamp(min=1)).mean()


def vaa_star(states: Tensor, epsilon: float = EPSILON) -> Tensor:
    r"""Return the differentiable surrogate of the VAA, in [1/N, 1], computed on :math:`t = \tanh(z)`.

    .. math:: \mathrm{VAA}^* = \frac{1}{N} \sum_i \frac{1}{\sum_j C_{ij}}, \qquad
        C_{ij} = 1 - \frac{\max(d_{ij} - \epsilon, 0)}{d_{ij} + 10^{-6}}, \qquad d_{ij} = \lVert t_i - t_j \rVert

    C is 1 up to a distance of epsilon, and about epsilon/d beyond it. The gradient vanishes if all pairs are closer
    than epsilon, and it is small if all are far apart; it is finite for equal states. For arguments and errors, see
    :func:`vaa`.
    """
    distances = _distances(torch.tanh(states), epsilon)
    closeness = 1 - torch.relu(distances - epsilon) / (distances + 1e-6)
    return (1 / closeness.sum(1)).mean()


def at_rest(states: Tensor, next_states: Tensor, tolerance: float = REST_TOLERANCE) -> Tensor:
    """Return which states are at rest: one more step moves no unit by more than ``tolerance * (1 + |z|)``.

    Args:
        states: States, ``(..., H)``.
        next_states: The states one step later under the same constant input, ``(..., H)``.
        tolerance: Largest relative change of a resting unit.

    Returns:
        Boolean mask, ``(...)``.
    """
    return ((next_states - states).abs() <= tolerance * (1 + states.abs())).all(-1)


def shares_apart(states: Tensor, other_states: Tensor) -> Tensor:
    """Return the distances of pairs of states, divided by their first distances, ``(S, N)``.

    A pair has a distance of 0 if no unit differs by more than the tolerance of rest, or if a state is not finite:
    nothing is remembered once states overflow.

    Args:
        states: States at S looks, ``(S, N, H)``.
        other_states: The other states of the pairs, ``(S, N, H)``.
    """
    near = at_rest(states, other_states)  # no further apart than a state at rest moves
    distances = finite_norms(other_states - states).masked_fill(near, 0.0)
    shares = (distances / distances[0]).where(distances > 0, 0.0)
    return shares.clamp(max=torch.finfo(shares.dtype).max)


def finite_norms(vectors: Tensor) -> Tensor:
    """Return Euclidean norms along the last axis: 0 for a vector that is not finite, and never infinity."""
    norms = torch.linalg.vector_norm(vectors, dim=-1).clamp(max=torch.finfo(vectors.dtype).max)
    return norms.where(torch.isfinite(vectors).all(-1), 0.0)


def memory_span(shares: Tensor, steps: Tensor, left: float = LEFT) -> Tensor:
    """Return after how many steps a share falls to ``left`` for good, or infinity if it does not do so in the end.

    Between two looks, a share is assumed to fall exponentially.

    Args:
        shares: The shares at S looks, ``(S, N)``.
        steps: The numbers of steps at the looks, increasing, ``(S,)``.
        left: The share that ends a span.

    Returns:
        Spans, ``(N,)``, float64; 0 if the share is never above ``left``.

    Examples:
        >>> memory_span(torch.tensor([[1.0], [0.25], [0.0625]]), torch.tensor([0, 10, 20]), left=0.5)
        tensor([5.], dtype=torch.float64)
    """
    shares, steps = shares.double(), steps.to(shares.device).double()
    above = shares > left
    order = torch.arange(1, len(steps) + 1, device=shares.device).unsqueeze(1)
    last = (above * order).amax(0) - 1  # the last look above; -1 if there is none
    before, after = last.clamp(min=0), (last + 1).clamp(max=len(steps) - 1)
    logs = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
    high, low = (logs.gather(0, look.unsqueeze(0)).squeeze(0) for look in (before, after))
    part = (high - math.log(left)) / (high - low)
    spans = steps[before] + part * (steps[after] - steps[before])
    spans = spans.where(last >= 0, 0.0)
    return spans.where(last < len(steps) - 1, math.inf)


def _distances(states: Tensor, epsilon: float) -> Tensor:
    """Return the distances, ``(N, N)``: exact for close states, and with finite gradients."""
    if states.dim() != 2 or states.shape[0] == 0:
        raise ValueError(f"states of shape {tuple(states.shape)}: must be (N, H) with N of at least 1")
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon}: must be above 0")
    if states.dtype in (torch.float16, torch.bfloat16):
        states = states.float()
    # Above 25 rows, the default mode computes distances from a matrix product, which rounds close pairs away.
    with torch.autocast(states.device.type, enabled=False):
        return torch.cdist(states, states, compute_mode="donot_use_mm_for_euclid_dist")
