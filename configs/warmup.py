"""The settings of the stages before the training: pretraining and warmup."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializeAsAny, SerializerFunctionWrapHandler, model_serializer, model_validator

from configs.values import ConfigError
from lightning_warmup.procedures.objectives import Objective, objective_by_name
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.settings import Settings


class Pretrain(Settings):
    """A pretraining before the warmup and the training."""

    task: Literal["none", "autoencode", "next_step"] = "none"
    """Task: rebuild each sequence from its final state (autoencode), or predict each next step (next_step)."""
    steps: int = Field(300, ge=1)
    """Number of gradient steps."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of the pretraining, which has its own Adam."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a pretraining batch, over all processes."""


class Warmup(Settings):
    """The warmup before the training, together with the settings of its objective."""

    enabled: bool = True
    """Warm up the network before the training."""
    objective: SerializeAsAny[Objective] = Field(default_factory=Published)
    """Goal: states end in many different places (published), and also come to rest there (rest)."""
    lr: float = Field(1e-2, gt=0)
    """Learning rate of the warmup's own Adam; with objective=rest, it is doubled from the third attempt on."""
    batch_size: int = Field(32, ge=2)
    """Sequences in a warmup batch, over all processes."""
    leaky: bool = False
    """With model.double=true, also warm up the second half of all layers but the last, as in the authors' code."""

    @model_validator(mode="before")
    @classmethod
    def _make_the_objective(cls, values: dict[str, Any]) -> dict[str, Any]:
        if isinstance(values.get("objective"), Objective):
            return values
        kind = objective_by_name(values.get("objective", Published().name))
        if shared := kind.model_fields.keys() & cls.model_fields.keys():
            raise ConfigError(
                f"{kind.__name__}.{min(shared)}: warmup.{min(shared)} exists; choose another name"
            )
        own = {name: value for name, value in values.items() if name in kind.model_fields}
        others = {name: value for name, value in values.items() if name not in own}
        return others | {"objective": kind(**own)}

    @model_serializer(mode="wrap")
    def _flat(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self)
        own = values["objective"]
        return values | {"objective": self.objective.name} | own
