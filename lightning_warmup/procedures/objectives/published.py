"""The objective of the published warmup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_warmup.procedures.objectives._base import Objective, SettledLayer

if TYPE_CHECKING:
    from torch import Tensor


class Published(Objective):
    r"""Many equilibria: :math:`(\mathrm{VAA}^* - \mathrm{target})^2` (arXiv 2106.01001, section 4)."""

    def layer_loss(self, layer: SettledLayer) -> Tensor:
        """Return the squared distance of VAA* from its target."""
        return (layer.vaa_star - self.target) ** 2
