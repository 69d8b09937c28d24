"""What a warmup step looks at, VAA* and how far states are from rest, and the loss that it makes of them.

Each objective samples reachable states, lets them settle, and gives ``(stars, unrests)``, both of shape ``(L,)``
and differentiable. The states of all processes are compared, and every process draws alike for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_warmup.distributed import gather_rows, rank, world_size
from lightning_warmup.dynamics.functional import EPSILON, REST_TOLERANCE, vaa_star
from lightning_warmup.dynamics.reachable import cut_lengths, reachable_states, run_constant, run_layers
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import Layer


def published(
    layers: Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None,
    stabilization: int,
    epsilon: float,
    silent: Sequence[int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """VAA* of every layer, each settled alone under a constant input of its own (arXiv 2106.01001); unrest is 0.

    Args:
        layers: Layers of the stack.
        sequences: This process's inputs ``(T, N, I)``.
        lengths: Steps of each sequence, ``(N,)``, instead of random cuts.
        stabilization: Number M of constant steps.
        epsilon: Distance below which two states are the same equilibrium.
        silent: Without effect here.
        generator: Source of the cuts and inputs, the same on every process.
    """
    count, size = sequences.shape[1:]
    stars = []
    for layer, state in zip(layers, _sampled(layers, sequences, lengths, generator), strict=True):
        input = torch.randn(layer.input_size or size, generator=generator).to(sequences)
        _, settled = layer.run(input.expand(stabilization, count, -1), state)
        stars.append(vaa_star(gather_rows(flatten_state(layer.part(settled))), epsilon))
    return torch.stack(stars), sequences.new_zeros(len(stars))


def rest(
    layers: Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None,
    stabilization: int,
    epsilon: float,
    silent: Sequence[int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """VAA* and :func:`unrest` of every layer, settled jointly, after an input that all sequences share.

    Every state reads the same common input, steps of one sequence of the batch in random order, for 0..M steps;
    then one constant input from N(0, 1) drives the whole stack for M steps. States that stay apart through the
    common input hold what they remember while the network goes on reading. What tells the network to take something
    new in, such as a marker, would ask it not to: such channels are silent, 0 in both inputs.

    Args:
        layers: Layers of the stack.
        sequences: This process's inputs ``(T, N, I)``.
        lengths: Steps of each sequence, ``(N,)``, instead of random cuts.
        stabilization: Number M of steps.
        epsilon: Distance below which two states are the same equilibrium.
        silent: Numbers of the input channels that are silent.
        generator: Source of the cuts and inputs, the same on every process.

    Raises:
        ValueError: If the input has no such channel.
    """
    count, size = sequences.shape[1:]
    heard = heard_channels(size, silent).to(sequences)
    shared = gather_rows(sequences[:, 0].unsqueeze(0))[0]
    if lengths is not None:
        shared = shared[: int(gather_rows(lengths[:1].to(sequences.device))[0])]
    states = _sampled(layers, sequences, lengths, generator)
    reading = int(torch.randint(stabilization + 1, (), generator=generator))
    if reading:
        order = torch.randint(len(shared), (reading,), generator=generator)
        common = (heard * shared[order.to(shared.device)]).unsqueeze(1).expand(-1, count, -1)
        states = run_layers(layers, common, states)[1]
    constant = (heard * torch.randn(size, generator=generator).to(sequences)).expand(count, size)
    settled = run_constant(layers, constant, states, stabilization)[1]
    moved = run_constant(layers, constant, settled, 1)[1]
    stars, unrests = [], []
    for layer, *pair in zip(layers, settled, moved, strict=True):
        here, ahead = (gather_rows(flatten_state(layer.part(state))) for state in pair)
        stars.append(vaa_star(here, epsilon))
        unrests.append(unrest(here, ahead))
    return torch.stack(stars), torch.stack(unrests)


OBJECTIVES = {"published": published, "rest": rest}


@dataclass(frozen=True)
class WarmupLoss:
    r"""The loss of a warmup step, a mean over the layers.

    .. math:: (\mathrm{VAA}^* - \mathrm{target})^2
        + \mathrm{rest\_weight} \cdot \overline{\mathrm{VAA}^*} \cdot \mathrm{unrest}

    where the bar stands for a value without a gradient. Rest counts as much as states are apart: all states in one
    place are at rest as well, and the loss does not reward that.

    Attributes:
        objective: ``"published"``, whose unrest is 0, or ``"rest"``.
        epsilon: Distance below which two states are the same equilibrium.
        target: Value that VAA* is drawn to, from both sides.
        rest_weight: Weight of the unrest.
        silent: Numbers of input channels that are 0 while states settle, see :func:`rest`.

    Raises:
        ValueError: If an attribute is out of range.
    """

    objective: str = "published"
    epsilon: float = EPSILON
    target: float = 0.95
    rest_weight: float = 0.6
    silent: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective={self.objective!r}: choose one of {', '.join(OBJECTIVES)}")
        for name in ("epsilon", "target"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value}: must be a number above 0")
        if self.target > 1:
            raise ValueError(f"target={self.target}: must be at most 1")
        if not self.rest_weight >= 0:
            raise ValueError(f"rest_weight={self.rest_weight}: must be at least 0")

    def __call__(
        self,
        layers: Sequence[Layer],
        sequences: Tensor,
        lengths: Tensor | None,
        stabilization: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the loss, and VAA* and the unrest of every layer, ``(L,)``.

        Arguments and errors are those of :func:`rest`.
        """
        look = OBJECTIVES[self.objective]
        stars, unrests = look(layers, sequences, lengths, stabilization, self.epsilon, self.silent, generator)
        losses = (stars - self.target) ** 2 + self.rest_weight * stars.detach() * unrests
        return losses.mean(), stars, unrests


def unrest(states: Tensor, moved: Tensor, tolerance: float = REST_TOLERANCE) -> Tensor:
    r"""How far states are from rest, on a logarithmic scale.

    .. math:: \frac{1}{N} \sum_i \frac{\log(1 + r_i / \tau)}{\log(1 / \tau)}, \qquad
        r_i = \Big\lVert \frac{z'_i - z_i}{1 + |z_i|} \Big\rVert

    with z' one step after z. It is near 0 at rest and 1 for moves of order one. Its gradient goes with that of
    log r, so it pulls on a state that nearly rests as hard as on one that moves.

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
    """1 for each of the input's channels, 0 for those that are silent, ``(I,)``.

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


def _sampled(
    layers: Sequence[Layer], sequences: Tensor, lengths: Tensor | None, generator: torch.Generator
) -> list[State]:
    """States after random cuts of the sequences, or after their lengths."""
    length, count, _ = sequences.shape
    if lengths is None:
        lengths = cut_lengths(count * world_size(), length, generator).split(count)[rank()]
    return reachable_states(layers, sequences, lengths)
