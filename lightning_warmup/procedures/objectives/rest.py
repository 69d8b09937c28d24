"""The objective of equilibria at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lightning_warmup.procedures.objectives._base import Objective, SettledLayer

if TYPE_CHECKING:
    from torch import Tensor


class Rest(Objective):
    r"""Many equilibria, at rest and in all layers at once, that outlast further input.

    .. math:: (\mathrm{VAA}^* - \mathrm{target})^2
        + \mathrm{rest\_weight} \cdot \overline{\mathrm{VAA}^*} \cdot \mathrm{unrest}

    The bar stands for a value without a gradient. Unrest counts only as far as states are apart: states that have
    all collapsed into one place are at rest too, and the loss must not reward that.
    """

    steps: int = Field(900, ge=1)
    """Maximum number of gradient steps, in attempts of 150 to 300."""
    extension: int = Field(1, ge=1)
    """Maximum number of steps in all attempts, as a multiple of steps. While the goal is missed and 300 steps are
    left, another attempt follows."""
    epsilon: float = Field(3e-3, gt=0)
    """Distance below which two states are one equilibrium; closer states merge during the training."""
    max_stabilization: int = Field(400, ge=1)
    """Longest stabilisation: steps under a constant input before states are compared."""
    stabilization_ramp: ClassVar[int] = 0  # type: ignore[misc]  # no setting: the stabilisation is adaptive
    rest_weight: float = Field(0.6, ge=0)
    """Weight of the states' motion in the loss."""
    regularize: float = Field(1.0, ge=0)
    """Weight of the objective in the loss of every fourth training step, which needs clipping; 0 = none."""

    together = True
    adaptive = True
    metric = "resting_vaa"
    settle_steps = 10_000
    draws = 2

    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the loss of one layer."""
        star = layer.vaa_star
        return (star - self.target) ** 2 + self.rest_weight * star.detach() * layer.unrest
