"""The objective of equilibria at rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from lightning_warmup.distributed import gather_batch, gather_rows
from lightning_warmup.dynamics.functional import REST_TOLERANCE, vaa_star
from lightning_warmup.dynamics.reachable import run_constant, run_layers
from lightning_warmup.engine.state import flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.procedures import Batch, require
from lightning_warmup.procedures.objectives._base import Objective, SettledLayer, draw_states
from lightning_warmup.procedures.schedules import ATTEMPT, Adaptive


@dataclass(frozen=True)
class Rest(Objective):
    r"""Many equilibria, at rest and in all layers at once, that outlast further input.

    .. math:: (\mathrm{VAA}^* - \mathrm{target})^2
        + \mathrm{rest\_weight} \cdot \overline{\mathrm{VAA}^*} \cdot \mathrm{unrest}

    The bar stands for a value without a gradient. Unrest counts only as far as states are apart: states that have
    all collapsed into one place are at rest too, and the loss must not reward that.

    They rest under inputs that the task shows: ``holding_inputs``, ``(K, I)``, those under which it has to hold
    what it has read, where they are known, else any step of the sequences.
    """

    epsilon: float = 3e-3
    """VAA* of 0.95 sets 32 states about 600 times as far apart; closer ones merge while a network learns."""
    max_stabilization: int = 400
    stabilization_ramp: int = field(default=0, init=False)
    rest_weight: float = 0.6
    holding_inputs: Tensor | None = field(default=None, compare=False, repr=False)

    steps = 900
    regularize = 1.0
    figure = "resting_vaa"
    settle_steps, draws = 10_000, 2
    extension, going_on, further_attempt = 1, 0, ATTEMPT

    def __post_init__(self) -> None:
        super().__post_init__()
        require("rest_weight", self.rest_weight, self.rest_weight >= 0, "at least 0")

    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the loss of one layer."""
        star = layer.vaa_star
        return (star - self.target) ** 2 + self.rest_weight * star.detach() * layer.unrest

    def schedule(self, left: int, attempt: int) -> Adaptive:
        """Return a schedule that follows how well states are held apart.

        From the third attempt on the learning rate is twice as high: that holds states apart where the usual one
        fails, but leaves networks that are harder to train.
        """
        boldness = 1.0 if attempt <= 2 else 2.0
        return Adaptive(left, self.max_stabilization, boldness=boldness, target=self.target)

    def that_holds_under(self, inputs: Tensor) -> Rest:
        """Return the objective with these holding inputs, unless it was given others."""
        return self if self.holding_inputs is not None else replace(self, holding_inputs=inputs)

    def constant_inputs(self, sequences: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the holding inputs, or all steps of the sequences, ``(K, I)``."""
        if (held := self.holding_inputs) is not None:
            size = sequences.shape[2]
            fits = held.dim() == 2 and held.shape[1] == size and len(held) > 0
            require("holding_inputs", held, fits, f"(K, {size}) with K of at least 1")
            return held.to(sequences)
        if lengths is None:
            return sequences.flatten(0, 1)
        steps = torch.arange(len(sequences), device=sequences.device).unsqueeze(1)
        return sequences[steps < lengths.to(steps)]

    def settle(
        self, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
    ) -> list[SettledLayer]:
        """Settle reachable states, all layers together, after an input that all of them read.

        All read the same inputs, 0 to M steps of one sequence of the batch in random order, or of the holding
        inputs; then one more of them, constant, drives the whole network for M steps. States that stay apart
        through the common input hold what they remember while the network reads on.

        Arguments as for :meth:`Objective.settle`.
        """
        sequences, lengths = batch
        first, length = gather_batch((sequences[:, :1], None if lengths is None else lengths[:1]))
        inputs = self.constant_inputs(first[:, :1], None if length is None else length[:1])
        states = draw_states(layers, batch, generator)
        reading = int(torch.randint(stabilization + 1, (), generator=generator))
        order = torch.randint(len(inputs), (reading + 1,), generator=generator)
        common = inputs[order.to(inputs.device)].unsqueeze(1).expand(-1, sequences.shape[1], -1)
        if reading:
            states = run_layers(layers, common[:-1], states)[1]
        settled = run_constant(layers, common[-1], states, stabilization)[1]
        moved = run_constant(layers, common[-1], settled, 1)[1]
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
