"""How states settle under constant inputs in a step of a warmup, and what an objective makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from lightning_warmup.dynamics.functional import REST_TOLERANCE, vaa_star
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.dynamics.reachable import cut_lengths, reachable_states, run_constant, run_layers
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.procedures import require
from lightning_warmup.procedures.objectives import SettledLayer
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.sequences import Batch


def loss_of(
    plan: WarmupPlan, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
) -> tuple[Tensor, list[SettledLayer]]:
    """Return the loss of a plan's objective, a mean over the layers, and the settled layers.

    Args:
        plan: What a warmup aims at.
        layers: Layers of the network.
        batch: Inputs, ``(T, B, I)``, and the steps of each, or None for random cuts.
        stabilization: Number M of constant steps.
        generator: Source of the cuts and inputs.

    Raises:
        ValueError: If the loss of a layer is no scalar, or the plan's holding inputs are none of the network's.
    """
    settle = settle_together if plan.objective.together else settle_alone
    settled = settle(plan, layers, batch, stabilization, generator)
    losses = [plan.objective.layer_loss(layer) for layer in settled]
    if not all(isinstance(loss, Tensor) and loss.dim() == 0 for loss in losses):
        raise ValueError(f"{type(plan.objective).__name__}.layer_loss: must return a tensor without axes")
    return torch.stack(losses).mean(), settled


def settle_alone(
    plan: WarmupPlan, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
) -> list[SettledLayer]:
    """Settle reachable states, each layer alone under a constant input from N(0, 1) of its own.

    Arguments as for :func:`loss_of`.
    """
    sequences, settled = batch[0], []
    last = layers[-1].alone or layers[-1]  # nothing reads what the rest of it computes
    layers = [*layers[:-1], last]
    for layer, state in zip(layers, _draw_states(layers, batch, generator), strict=True):
        input = torch.randn(layer.input_size or sequences.shape[2], generator=generator).to(sequences)
        alone = layer.alone or layer
        _, state = alone.run(input.expand(stabilization, sequences.shape[1], -1), layer.part(state))
        states = flatten_state(state)
        star = vaa_star(states, plan.objective.epsilon)
        settled.append(SettledLayer(states, star, states.new_zeros(())))
    return settled


def settle_together(
    plan: WarmupPlan, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
) -> list[SettledLayer]:
    """Settle reachable states, all layers together, after an input that all of them read.

    All read the same inputs, 0 to M steps of the first sequence in random order, or of the holding inputs; then one
    more of them, constant, drives the whole network for M steps. States that stay apart through the common input
    hold what they remember while the network reads on.

    Arguments as for :func:`loss_of`.
    """
    sequences, lengths = batch
    inputs = _inputs_of_the_task(plan, (sequences[:, :1], None if lengths is None else lengths[:1]))
    states = _draw_states(layers, batch, generator)
    reading = int(torch.randint(stabilization + 1, (), generator=generator))
    order = torch.randint(len(inputs), (reading + 1,), generator=generator)
    common = inputs[order.to(inputs.device)].unsqueeze(1).expand(-1, sequences.shape[1], -1)
    if reading:
        states = run_layers(layers, common[:-1], states)[1]
    settled = run_constant(layers, common[-1], states, stabilization)[1]
    moved = run_constant(layers, common[-1], settled, 1)[1]
    found = []
    for layer, *pair in zip(layers, settled, moved, strict=True):
        here, ahead = (flatten_state(layer.part(state)) for state in pair)
        found.append(SettledLayer(here, vaa_star(here, plan.objective.epsilon), unrest(here, ahead)))
    return found


def measure(plan: WarmupPlan, layers: Sequence[Layer], batch: Batch) -> Multistability:
    """Measure what a warmup has reached, as its objective asks, with draws that depend on the seed alone."""
    objective = plan.objective
    return multistability(
        layers,
        *batch,
        steps=objective.settle_steps,
        draws=objective.draws,
        epsilon=objective.epsilon,
        constant_inputs=_inputs_of_the_task(plan, batch) if objective.together else None,
        generator=torch.Generator().manual_seed(plan.seed),
    )


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


def _inputs_of_the_task(plan: WarmupPlan, batch: Batch) -> Tensor:
    """Return the holding inputs, or all steps of the sequences, ``(K, I)``."""
    sequences, lengths = batch
    if (held := plan.holding_inputs) is not None:
        size = sequences.shape[2]
        fits = held.dim() == 2 and held.shape[1] == size and len(held) > 0
        require("holding_inputs", held, fits, f"(K, {size}) with K of at least 1")
        return held.to(sequences)
    if lengths is None:
        return sequences.flatten(0, 1)
    steps = torch.arange(len(sequences), device=sequences.device).unsqueeze(1)
    return sequences[steps < lengths.to(steps)]


def _draw_states(layers: Sequence[Layer], batch: Batch, generator: Generator) -> list[State]:
    """Return the states after random cuts, or after given lengths."""
    sequences, lengths = batch
    if lengths is None:
        lengths = cut_lengths(sequences.shape[1], len(sequences), generator)
    return reachable_states(layers, sequences, lengths)
