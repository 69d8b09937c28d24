"""The settings of the recurrent network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from configs.values import ConfigError, names_in
from lightning_warmup.settings import Settings

if TYPE_CHECKING:
    Cell = str
    Initialisation = str
else:
    Cell, Initialisation = names_in("cells"), names_in("initialisations")


class Model(Settings):
    """The recurrent network."""

    cell: Cell = "gru"
    """Recurrent cell."""
    hidden_size: int = Field(128, ge=1)
    """Units in a layer, both halves of a double layer included."""
    num_layers: int = Field(2, ge=1)
    """Recurrent layers."""
    double: bool = False
    """Build each layer of two halves, of which the warmup moves only the first."""
    silent: bool = True
    """With double=true start as the plain network of the other halves, which training may then let the memory into;
    false = the published double layer."""
    init: Initialisation = "default"
    """Initialisation of the cell."""
    t_max: int = Field(600, ge=3)
    """Longest time scale of the chrono initialisation, in steps."""

    @model_validator(mode="after")
    def _check_that_a_double_layer_can_be_halved(self) -> Model:
        if self.double and self.hidden_size % 2:
            raise ConfigError(f"model.hidden_size={self.hidden_size}: must be even with model.double=true")
        return self
