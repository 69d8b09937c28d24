"""What every objective of a warmup shares."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from lightning_warmup.distributed import gather_batch, gather_rows, rank, world_size
from lightning_warmup.dynamics.functional import EPSILON, vaa_star
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.dynamics.reachable import cut_lengths, reachable_states
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.procedures import Batch, require
from lightning_warmup.procedures.schedules import FURTHER_ATTEMPT, Adaptive, Schedule


class SettledLayer(NamedTuple):
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
    is judged as in the published warmup (arXiv 2106.01001). The fields are its settings, see
    :func:`lightning_warmup.procedures.warmup.warmup`; a subclass has its own defaults, adds fields, or takes one
    away by ``field(init=False)``.

    Raises:
        ValueError: If a setting is out of range.
    """

    epsilon: float = EPSILON
    target: float = 0.95
    max_stabilization: int = 200
    stabilization_ramp: int = 10

    steps: ClassVar[int] = 100
    """Gradient steps of a warmup, unless others are asked for."""
    regularize: ClassVar[float] = 0.0
    """Weight of the objective in the loss of the training, unless another is asked for."""
    figure: ClassVar[str] = "vaa"
    """Figure of a ``Multistability`` that tells whether the goal is reached."""
    goal: ClassVar[float] = 0.9
    """The goal is reached above it: nine of ten states have an equilibrium of their own."""
    settle_steps: ClassVar[int] = 2000
    draws: ClassVar[int] = 3
    """Constant steps M and draws of the measurement."""
    extension: ClassVar[int] = 7
    """Steps of all attempts, at most, as a multiple of ``steps``."""
    going_on: ClassVar[int] = 2
    """Attempts after the first that go on from the best weights so far; all others begin anew."""
    further_attempt: ClassVar[int] = 100
    """Steps that must be left for a further attempt where one has missed the goal: fewer seldom help."""

    def __post_init__(self) -> None:
        require("epsilon", self.epsilon, 0 < self.epsilon < math.inf, "a number above 0")
        require("target", self.target, 0 < self.target <= 1, "above 0 and at most 1")
        require("max_stabilization", self.max_stabilization, self.max_stabilization >= 1, "at least 1")
        require("stabilization_ramp", self.stabilization_ramp, self.stabilization_ramp >= 0, "at least 0")

    @abstractmethod
    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the loss of one layer, a differentiable scalar."""

    def schedule(self, left: int, attempt: int) -> Schedule:
        """Return the schedule of an attempt: the published one for the first.

        Args:
            left: Steps that are left for this attempt and all others.
            attempt: Its number, from 1.
        """
        if attempt > 1:
            return Adaptive(left, self.max_stabilization, FURTHER_ATTEMPT, target=self.target)
        return Schedule(left, self.max_stabilization, self.stabilization_ramp)

    def settle(
        self, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
    ) -> list[SettledLayer]:
        """Settle reachable states, each layer alone under a constant input from N(0, 1) of its own.

        Args:
            layers: Layers of the network.
            batch: This process's inputs, ``(T, B, I)``, and the steps of each, or None for random cuts.
            stabilization: Number M of constant steps.
            generator: Source of the cuts and inputs, the same on every process.
        """
        sequences, settled = batch[0], []
        for layer, state in zip(layers, draw_states(layers, batch, generator), strict=True):
            input = torch.randn(layer.input_size or sequences.shape[2], generator=generator).to(sequences)
            _, state = layer.run(input.expand(stabilization, sequences.shape[1], -1), state)
            states = gather_rows(flatten_state(layer.part(state)))
            settled.append(SettledLayer(states, vaa_star(states, self.epsilon), states.new_zeros(())))
        return settled

    def __call__(
        self, layers: Sequence[Layer], batch: Batch, stabilization: int, generator: Generator
    ) -> tuple[Tensor, list[SettledLayer]]:
        """Return the loss, a mean over the layers, and the settled layers; arguments as for :meth:`settle`."""
        settled = self.settle(layers, batch, stabilization, generator)
        losses = [self.layer_loss(layer) for layer in settled]
        if not all(isinstance(loss, Tensor) and loss.dim() == 0 for loss in losses):
            raise ValueError(f"{type(self).__name__}.layer_loss: must return a tensor without axes")
        return torch.stack(losses).mean(), settled

    def that_holds_under(self, inputs: Tensor) -> Objective:
        """Return the objective for a task known to hold under these inputs, ``(K, I)``; here it is the same."""
        return self

    def constant_inputs(self, sequences: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Return the constant inputs to measure under, ``(K, I)``, or None for those from N(0, 1)."""
        return None

    def measure(self, layers: Sequence[Layer], batch: Batch, generator: Generator) -> Multistability:
        """Measure what a warmup has reached, on a batch of all processes, alike on each; see :meth:`settle`."""
        sequences, lengths = gather_batch(batch)
        return multistability(
            layers,
            sequences,
            lengths,
            steps=self.settle_steps,
            draws=self.draws,
            epsilon=self.epsilon,
            constant_inputs=self.constant_inputs(sequences, lengths),
            generator=generator,
        )


def draw_states(layers: Sequence[Layer], batch: Batch, generator: Generator) -> list[State]:
    """Return the states after random cuts, drawn alike on every process, or after given lengths."""
    sequences, lengths = batch
    length, count, _ = sequences.shape
    if lengths is None:
        lengths = cut_lengths(count * world_size(), length, generator).split(count)[rank()]
    return reachable_states(layers, sequences, lengths)
