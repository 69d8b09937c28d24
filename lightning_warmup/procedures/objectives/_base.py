"""What every objective of a warmup shares."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_warmup.distributed import gather_rows, rank, world_size
from lightning_warmup.dynamics.functional import EPSILON, vaa_star
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.dynamics.reachable import cut_lengths, reachable_states
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.procedures.schedules import Ramp, Schedule


@dataclass(frozen=True)
class SettledLayer:
    """One layer's settled states, those of all processes, with their gradients.

    Attributes:
        states: Raw states, ``(N, H)``.
        vaa_star: Their VAA*, a scalar.
        unrest: How far they are from rest, a scalar; 0 where the objective does not look.
    """

    states: Tensor
    vaa_star: Tensor
    unrest: Tensor


@dataclass(frozen=True)
class Objective(ABC):
    """What a warmup aims at: a loss of the states that each layer settles in.

    A subclass gives :meth:`layer_loss`. Unless it overrides them, states settle, stabilisations grow and the goal
    is judged as in the published warmup (arXiv 2106.01001).

    Attributes:
        epsilon: Distance below which two states are the same equilibrium.
        target: Value that VAA* is drawn to, from both sides.
        max_stabilization: Longest stabilisation, in steps.
        stabilization_ramp: Growth of the longest stabilisation with each step, see
            :class:`lightning_warmup.procedures.schedules.Ramp`.

    Raises:
        ValueError: If a setting is out of range.
    """

    epsilon: float = EPSILON
    target: float = 0.95
    max_stabilization: int = 200
    stabilization_ramp: int = 10

    figure: ClassVar[str] = "vaa"
    """Figure of a ``Multistability`` that tells whether the goal is reached."""
    goal: ClassVar[float] = 0.9
    """The goal is reached above it: nine of ten states have an equilibrium of their own."""
    early_goal: ClassVar[float] = math.inf
    """Above it the warmup stops early, where its schedule measures the figure on the way."""
    settle_steps: ClassVar[int] = 2000
    """Constant steps M of the measurement."""
    draws: ClassVar[int] = 1
    """Draws of the measurement."""
    further_attempt: ClassVar[float] = math.inf
    """Steps that must be left for a further attempt where one has missed the goal."""

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("epsilon", "target"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}={getattr(self, name)}: must be a number above 0")
        if self.target > 1:
            raise ValueError(f"target={self.target}: must be at most 1")
        if not self.max_stabilization >= 1:
            raise ValueError(f"max_stabilization={self.max_stabilization}: must be at least 1")
        if not self.stabilization_ramp >= 0:
            raise ValueError(f"stabilization_ramp={self.stabilization_ramp}: must be at least 0")

    @abstractmethod
    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the loss of one layer, a differentiable scalar."""

    def schedule(self, steps: int) -> Schedule:
        """Return the schedule of an attempt that may take so many steps."""
        return Ramp(steps, self.max_stabilization, self.stabilization_ramp)

    def advice(self, steps: int) -> str:
        """Return what to try if the goal is missed after so many steps."""
        return f"steps={3 * steps} or objective=rest"

    def settle(
        self,
        layers: Sequence[Layer],
        sequences: Tensor,
        lengths: Tensor | None,
        stabilization: int,
        generator: torch.Generator,
    ) -> list[SettledLayer]:
        """Settle reachable states, each layer alone under a constant input from N(0, 1) of its own.

        Args:
            layers: Layers of the network.
            sequences: This process's inputs, ``(T, B, I)``.
            lengths: Steps of each sequence, ``(B,)``, instead of random cuts.
            stabilization: Number M of constant steps.
            generator: Source of the cuts and inputs, the same on every process.
        """
        count, size = sequences.shape[1:]
        settled = []
        for layer, state in zip(layers, draw_states(layers, sequences, lengths, generator), strict=True):
            input = torch.randn(layer.input_size or size, generator=generator).to(sequences)
            _, state = layer.run(input.expand(stabilization, count, -1), state)
            states = gather_rows(flatten_state(layer.part(state)))
            settled.append(SettledLayer(states, vaa_star(states, self.epsilon), states.new_zeros(())))
        return settled

    def __call__(
        self,
        layers: Sequence[Layer],
        sequences: Tensor,
        lengths: Tensor | None,
        stabilization: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, list[SettledLayer]]:
        """Return the loss, a mean over the layers, and the settled layers; arguments as for :meth:`settle`."""
        settled = self.settle(layers, sequences, lengths, stabilization, generator)
        return torch.stack([self.layer_loss(layer) for layer in settled]).mean(), settled

    def measure(
        self, layers: Sequence[Layer], sequences: Tensor, lengths: Tensor | None, generator: torch.Generator
    ) -> Multistability:
        """Measure what a warmup has reached, on a batch of all processes, alike on each; see :meth:`settle`."""
        sequences = gather_rows(sequences.transpose(0, 1)).transpose(0, 1)
        lengths = None if lengths is None else gather_rows(lengths.to(sequences.device))
        settings = {"steps": self.settle_steps, "draws": self.draws, "epsilon": self.epsilon}
        return multistability(layers, sequences, lengths, **settings, generator=generator)  # type: ignore[arg-type]


def draw_states(
    layers: Sequence[Layer], sequences: Tensor, lengths: Tensor | None, generator: torch.Generator
) -> list[State]:
    """Return the states after random cuts, drawn alike on every process, or after given lengths."""
    length, count, _ = sequences.shape
    if lengths is None:
        lengths = cut_lengths(count * world_size(), length, generator).split(count)[rank()]
    return reachable_states(layers, sequences, lengths)
