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
    """Kind of recurrent cell."""
    hidden_size: int = Field(180, ge=1)
    """Units in a layer, with double=true those of both halves: 180 have about as many parameters as 128 without."""
    num_layers: int = Field(1, ge=1)
    """Number of recurrent layers."""
    double: bool = True
    """Each layer has two halves, a memory, which alone is warmed up, and a plain network. false = one network, all
    of which is warmed up."""
    silent: bool = True
    """With double=true, start from the plain network; training can learn to use the memory at its side. false = the
    published double layer, which uses both halves from the start."""
    init: Initialisation = "default"
    """Initialisation of the cell."""
    t_max: int = Field(600, ge=3)
    """Longest time scale of the chrono initialisation, in steps; other initialisations ignore it."""

    @model_validator(mode="after")
    def _check_even(self) -> Model:
        if self.double and self.hidden_size % 2:
            raise ConfigError(f"model.hidden_size={self.hidden_size}: must be even with model.double=true")
        return self
