"""The settings of what comes before the training: a pretraining and the warmup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from configs.values import names_in
from lightning_warmup.settings import Settings

if TYPE_CHECKING:
    Objective = str
else:
    Objective = names_in("procedures/objectives")


class Pretrain(Settings):
    """A pretraining before the warmup and the training."""

    task: Literal["none", "autoencode", "next_step"] = "none"
    """What the network learns to give back: each sequence from its final state, or each next step."""
    steps: int = Field(300, ge=1)
    """Gradient steps."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of the pretraining's own Adam."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a pretraining batch, over all processes."""


class Warmup(Settings):
    """The warmup before the training."""

    enabled: bool = True
    """Warm up the network before the training."""
    objective: Objective = "published"
    """Aim: VAA* alone (published), or states that also come to rest apart from each other (rest)."""
    steps: int | None = Field(None, ge=1)
    """Gradient steps; with objective=rest the most over attempts of 150 to 300; null = 100, rest 900."""
    extension: int | None = Field(None, ge=1)
    """Most steps of all attempts, as a multiple of steps. After a missed goal another follows if 100 are left, with
    objective=rest 300; 1 = the steps of the paper; null = 7, rest 1."""
    lr: float = Field(1e-2, gt=0)
    """Learning rate of the warmup's own Adam; with objective=rest doubled from the third attempt on."""
    batch_size: int = Field(32, ge=2)
    """Sequences in a warmup batch, over all processes."""
    epsilon: float | None = Field(None, gt=0)
    """Distance below which two states are one equilibrium; null = 0.0001, rest 0.003."""
    target: float | None = Field(None, gt=0, le=1)
    """VAA* to reach, from above or below; null = 0.95."""
    max_stabilization: int | None = Field(None, ge=1)
    """Upper limit of the stabilisation, in steps under a constant input; null = 200, rest 400."""
    stabilization_ramp: int | None = Field(None, ge=0)
    """Steps by which that limit grows with each warmup step, not with objective=rest; null = 10."""
    rest_weight: float | None = Field(None, ge=0)
    """Weight in the loss of the states' motion, only with objective=rest; null = 0.6."""
    regularize: float | None = Field(None, ge=0)
    """Weight of the objective in the loss of every fourth training step, 0 = none; null = 0.0, rest 1.0."""
    leaky: bool = False
    """Let a partial warmup also move the second half of lower layers, as in the authors' code."""
