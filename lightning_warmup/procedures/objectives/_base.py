"""What every objective of a warmup shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from lightning_warmup.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor


class SettledLayer(NamedTuple):
    """The states that one layer has settled in, with their gradients.

    Attributes:
        states: Raw states, ``(N, H)``.
        vaa_star: Their VAA*, a scalar.
        unrest: How far they are from rest, a scalar; 0 unless the layers settle together.
    """

    states: Tensor
    vaa_star: Tensor
    unrest: Tensor


class Objective(Settings, ABC):
    """What a warmup aims at: a loss of the states that each layer settles in, and a goal.

    The fields are its settings, and a subclass may add fields. The class attributes say how states settle and what
    the goal is; they are those of the published warmup (arXiv 2106.01001) unless a subclass gives others.

    Raises:
        ValueError: If there is no such setting or a value is not allowed.
    """

    steps: int = Field(100, ge=1)
    """Gradient steps of the warmup."""
    extension: int = Field(7, ge=1)
    """Maximum number of steps in all attempts, as a multiple of steps. While the goal is missed and 100 steps are
    left, another attempt follows; 1 = the steps of the paper."""
    epsilon: float = Field(1e-4, gt=0)
    """Distance below which two states are one equilibrium."""
    target: float = Field(0.95, gt=0, le=1)
    """VAA*, the differentiable VAA, that the loss aims at; the goal is a final VAA above 0.9."""
    max_stabilization: int = Field(200, ge=1)
    """Longest stabilisation: steps under a constant input before states are compared."""
    stabilization_ramp: int = Field(10, ge=0)
    """Growth of the longest stabilisation with each warmup step, in steps, from 1 up to max_stabilization."""
    regularize: float = Field(0.0, ge=0)
    """Weight of the objective in the loss of every fourth training step; 0 = none."""

    together: ClassVar[bool] = False
    """Whether all layers settle together under inputs of the task, or each alone under its own from N(0, 1)."""
    adaptive: ClassVar[bool] = False
    """Whether the stabilisation follows how well states are held apart, or grows by ``stabilization_ramp``."""
    metric: ClassVar[Literal["vaa", "resting_vaa"]] = "vaa"
    """Metric of a ``Multistability`` that tells whether the goal is reached."""
    goal: ClassVar[float] = 0.9
    """The goal is reached above it: nine of ten states have an equilibrium of their own."""
    settle_steps: ClassVar[int] = 2000
    """Constant steps M of the measurement."""
    draws: ClassVar[int] = 3
    """Draws of the measurement."""

    @property
    def name(self) -> str:
        """Name of the objective: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the loss of one layer, a differentiable scalar."""
