"""The objective of equilibria at rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from lightning_warmup.distributed import gather_rows, gather_sequences
from lightning_warmup.dynamics.functional import REST_TOLERANCE, vaa_star
from lightning_warmup.dynamics.reachable import run_constant, run_layers
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.procedures import Batch
from lightning_warmup.procedures.objectives._base import Objective, SettledLayer, draw_states
from lightning_warmup.procedures.schedules import ATTEMPT, Adaptive


class Rest(Objective):
    r"""Many equilibria, at rest and in all layers at once, that outlast further input.

    .. math:: (\mathrm{VAA}^* - \mathrm{target})^2
        + \mathrm{rest\_weight} \cdot \overline{\mathrm{VAA}^*} \cdot \mathrm{unrest}

    The bar stands for a value without a gradient. Unrest counts only as far as states are apart: states that have
    all collapsed into one place are at rest too, and the loss must not reward that.
    """

    figure = "resting_vaa"
    early_goal = 0.98
    """Further steps would gain little, and each look costs 10,000 constant steps."""
    settle_steps, draws = 10_000, 2
    further_attempt = ATTEMPT
    alternative = ""

    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the loss of one layer."""
        star = layer.vaa_star
        return (star - self.target) ** 2 + self.rest_weight * star.detach() * layer.unrest

    def schedule(self, steps: int) -> Adaptive:
        """Return a schedule that follows how well states are held apart."""
        return Adaptive(steps, self.max_stabilization)

    def settle(
        self, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
    ) -> list[SettledLayer]:
        """Settle reachable states, all layers together, after an input that all of them read.

        All read the same steps of one sequence of the batch, 0 to M of them in random order; then one constant
        input from N(0, 1) drives the whole network for M steps. States that stay apart through the common input
        hold what they remember while the network reads on. A marker that tells the network to store something
        new would contradict that: make such channels silent, 0 in both inputs.

        Arguments as for :meth:`Objective.settle`; a silent channel that the input does not have is refused.
        """
        sequences, lengths = batch
        count, size = sequences.shape[1:]
        heard = heard_channels(size, self.silent).to(sequences)
        shared = gather_sequences(sequences[:, :1])[:, 0]
        if lengths is not None:
            shared = shared[: int(gather_rows(lengths[:1].to(sequences.device))[0])]
        states = draw_states(layers, batch, generator)
        reading = int(torch.randint(stabilization + 1, (), generator=generator))
        if reading:
            order = torch.randint(len(shared), (reading,), generator=generator)
            common = (heard * shared[order.to(shared.device)]).unsqueeze(1).expand(-1, count, -1)
            states = run_layers(layers, common, states)[1]
        constant = (heard * torch.randn(size, generator=generator).to(sequences)).expand(count, size)
        settled = run_constant(layers, constant, states, stabilization)[1]
        moved = run_constant(layers, constant, settled, 1)[1]
        found = []
        for layer, *pair in zip(layers, settled, moved, strict=True):
            here, ahead = (gather_rows(flatten_state(layer.part(state))) for state in pair)
            found.append(SettledLayer(here, vaa_star(here, self.epsilon), unrest(here, ahead)))
        return found


def unrest(states: Tensor, moved: Tensor, tolerance: float = REST_TOLERANCE) -> Tensor:
    r"""Return how far states are from rest, on a logarithmic scale.

    .. math:: \frac{1}{N} \sum_i \frac{\log(1 + r_i / \tau)}{\log(1 / \tau)}, \qquad
        r_i = \Big\lVert \frac{z'_i - z_i}{1 + |z_i|} \Big\rVert

    with z' one step after z. It is near 0 at rest and 1 for moves of order one. Its gradient goes with that of
    log r, so it pulls as hard on a state that nearly rests as on one that moves.

    Args:
        states: Raw states, ``(N, H)``.
        moved: The states one step later under the same constant input, ``(N, H)``.
        tolerance: Relative move at which the pull ends.

    Returns:
        A differentiable scalar.
    """
    moves = torch.linalg.vector_norm((moved - states) / (1 + states.detach().abs()), dim=1)
    return torch.log1p(moves / tolerance).mean() / math.log(1 / tolerance)


def heard_channels(size: int, silent: Sequence[int]) -> Tensor:
    """Return 1 for each of the ``size`` input channels but 0 for the silent ones, ``(I,)``.

    Raises:
        ValueError: If the input has no such channel.
    """
    heard = torch.ones(size)
    for channel in silent:
        if not -size <= channel < size:
            raise ValueError(
                f"silent={list(silent)}: the input has the channels 0..{size - 1}, or -{size}..-1"
            )
        heard[channel] = 0
    return heard
