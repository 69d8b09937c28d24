"""The measure of reachable multistability (arXiv 2106.01001, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_warmup.dynamics.functional import EPSILON, at_rest, resting_vaa, vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, reachable_states, run_layers
from lightning_warmup.dynamics.settling import settle
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.networks.mode import in_mode


@dataclass(frozen=True)
class Multistability:
    """A measurement of reachable multistability; every number depends on N, M, epsilon and the input.

    Attributes:
        vaa: Variability among attractors, in [1/N, 1].
        resting_vaa: Number of distinct equilibria of the resting states, divided by N, in [0, 1].
        resting_fraction: Fraction of the settled states that are at rest.
        residual: Median Euclidean length of one more step; for states that have overflowed, the largest number.
        places_per_layer: For each layer, the number of distinct places of its states, at rest or not, in [1, N].
    """

    vaa: float
    resting_vaa: float
    resting_fraction: float
    residual: float
    places_per_layer: tuple[float, ...]


@torch.no_grad()
def multistability(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 2000,
    draws: int = 3,
    epsilon: float = EPSILON,
    constant_inputs: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Multistability:
    """Measure the reachable multistability of a recurrent network on N sequences, in eval mode.

    Each draw cuts every sequence at a random length, runs it from the zero state, and lets all states settle under
    one constant input, shared by all sequences. The results are means over the draws. Modules keep their mode.
    A list of :class:`Layer` is measured in the mode of its modules.

    Args:
        rnn: Network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs, ``(T, N, I)``, or ``(N, T, I)`` if the network has ``batch_first``.
        lengths: Lengths of the sequences, ``(N,)``, for example of episodes; they replace the random cuts.
        steps: Number M of constant steps.
        draws: Number of draws.
        epsilon: Distance below which two states are in the same place.
        constant_inputs: Inputs ``(K, I)`` from which constant inputs are drawn; by default they come from N(0, 1).
        generator: Source of the cuts and the constant inputs; by default one with seed 0.

    Raises:
        ValueError: If ``steps`` or ``draws`` is below 1, a length is outside 1..T, or an input is not finite.
    """
    for name, value in {"steps": steps, "draws": draws}.items():
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    with in_mode(rnn, training=False):
        layers, states, inputs = draw_reachable_states(
            rnn, sequences, lengths, draws, generator, constant_inputs
        )
        settled, moved = settle(layers, states, inputs, steps, epsilon)
    resting = at_rest(settled, moved)
    residuals = torch.linalg.vector_norm(moved - settled, dim=1)
    # All states that have overflowed count as one place.
    settled = settled.where(torch.isfinite(settled).all(1, keepdim=True), settled.new_zeros(()))
    count, widths = len(inputs) // draws, [flatten_state(state).shape[1] for state in states]

    def mean(measure: Callable[..., Tensor], *rows: Tensor) -> float:
        parts = zip(*(tensor.chunk(draws) for tensor in rows), strict=True)
        return float(torch.stack([measure(*part, epsilon) for part in parts]).mean())

    return Multistability(
        vaa=mean(vaa, settled),
        resting_vaa=mean(resting_vaa, settled, resting),
        resting_fraction=float(resting.float().mean()),
        residual=float(residuals.nan_to_num(nan=torch.finfo(residuals.dtype).max).median()),
        places_per_layer=tuple(count * mean(vaa, layer) for layer in settled.split(widths, dim=1)),
    )


@torch.no_grad()
def retained(layers: Sequence[Layer], sequences: Tensor, lengths: Tensor | None = None) -> float:
    """Return how much of the first halves of sequences is left in the outputs after a common second half.

    All sequences end with the second half of the first sequence. The result is the root mean square, over sequences
    and units, of the differences of the last outputs from their mean. It is 0 if the network has lost the first
    halves; then training on outputs at the end can't find them.

    Args:
        layers: Layers of the network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs, ``(T, N, I)``.
        lengths: Number of steps of each sequence, ``(N,)``; by default T.
    """
    length, count, _ = sequences.shape
    lengths = torch.full((count,), length) if lengths is None else lengths
    states = reachable_states(layers, sequences, (lengths // 2).clamp(min=1))
    end = int(lengths[0])
    common = sequences[end // 2 : end, :1].expand(-1, count, -1)
    last = run_layers(layers, common, states)[0][-1]
    return float((last - last.mean(0)).square().mean().sqrt())
