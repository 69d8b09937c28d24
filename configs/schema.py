"""Every setting there is: its name, type, default, what is allowed, and a sentence about it.

Those of the benchmarks are in `configs.benchmarks`. The names of cells, initialisations and objectives are those
of the files in their folders.
"""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

import configs.benchmarks
from configs.benchmarks import CopyFirstInput, Data
from configs.setting import Section, Setting, settings_in
from configs.trainer import Trainer
from configs.values import ConfigError


def benchmarks() -> dict[str, type[Data]]:
    """Return the settings class of every benchmark by its `data.name`."""
    found = [value for value in vars(configs.benchmarks).values() if isinstance(value, type)]
    fields = [(c.model_fields["name"], c) for c in found if issubclass(c, Data)]
    return {name.default: c for name, c in fields if not name.is_required()}


def _names_in(folder: str) -> Any:
    """Return the type of the names of the files in a folder of the library."""
    library = Path(__file__).parents[1] / "lightning_warmup"
    return Literal[tuple(sorted(path.stem for path in (library / folder).glob("[!_]*.py")))]


if TYPE_CHECKING:
    Benchmark = Data
    Cell = str
    Initialisation = str
    Objective = str
else:
    Benchmark = Annotated[reduce(or_, benchmarks().values()), Field(discriminator="name")]
    Cell, Initialisation = _names_in("cells"), _names_in("initialisations")
    Objective = _names_in("procedures/objectives")


class Model(Section):
    """The recurrent network."""

    cell: Cell = "gru"
    """Recurrent cell."""
    hidden_size: int = Field(128, ge=1)
    """Units in a layer, both halves of a double layer included."""
    num_layers: int = Field(2, ge=1)
    """Recurrent layers."""
    double: bool = False
    """Build each layer of two halves, of which the warmup moves only the first."""
    init: Initialisation = "default"
    """Initialisation of the cell."""
    t_max: int = Field(600, ge=3)
    """Longest time scale of the chrono initialisation, in steps."""

    @model_validator(mode="after")
    def _check_that_a_double_layer_can_be_halved(self) -> Model:
        if self.double and self.hidden_size % 2:
            raise ConfigError(f"model.hidden_size={self.hidden_size}: must be even with model.double=true")
        return self


class Warmup(Section):
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


class Optim(Section):
    """The training."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam."""
    patience: int | None = Field(None, ge=1)
    """Validations without an improvement after which training stops; null = never."""
    min_delta: float = Field(0.0, ge=0)
    """Change of the validation that counts as an improvement."""


class Agent(Section):
    """The agent that learns tmaze or gym; other benchmarks ignore it."""

    gamma: float = Field(0.98, ge=0, le=1)
    """Discount factor of a step."""
    epsilon: float = Field(0.2, ge=0, le=1)
    """Probability that an action is one of exploration."""
    target_update: int = Field(20, ge=1)
    """Episodes between two updates of the target network."""
    stop_when_optimal: bool = False
    """End the training as soon as an evaluation finds the policy optimal, or the environment solved."""
    consolidate: int = Field(0, ge=0)
    """Steps of a round after the training, of at most twenty, that make the states of a T-Maze policy repeat."""


class Monitor(Section):
    """The measure of multistability."""

    steps: int = Field(2000, ge=1)
    """Steps under a constant input before states are compared in the report."""
    every_n_epochs: int | None = Field(None, ge=1)
    """Epochs between two measurements during the training, of 1000 steps each; null = none."""


class Pretrain(Section):
    """A pretraining before the warmup and the training."""

    task: Literal["none", "autoencode", "next_step"] = "none"
    """What the network learns to give back: each sequence from its final state, or each next step."""
    steps: int = Field(300, ge=1)
    """Gradient steps."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of the pretraining's own Adam."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a pretraining batch, over all processes."""


class Tracking(Section):
    """Weights & Biases; a CSV log is always written."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases: auto is online where an API key is set, else offline."""
    project: str = "lightning-warmup"
    """Project in which the run appears."""
    entity: str | None = None
    """User or team that owns the run; null = that of the API key."""
    name: str | None = None
    """Name of the run; null = that of its folder."""
    group: str | None = None
    """Group of runs it belongs to."""
    tags: list[str] = Field([])
    """Tags of the run."""


class Config(Section):
    """A whole configuration."""

    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of everything random in the run."""
    stages: list[Literal["fit", "test"]] = Field(["fit", "test"])
    """Stages to run, in this order."""
    ckpt: str | None = None
    """Checkpoint to resume from or to test: a path, or last for the newest in run_dir."""
    ckpt_interval: float = Field(60.0, ge=0)
    """Longest time between two checkpoints, in seconds."""
    run_dir: str | None = None
    """Folder of this run alone; null = a new one under runs/."""
    data: Benchmark = Field(default_factory=CopyFirstInput)
    model: Model = Field(default_factory=Model)
    pretrain: Pretrain = Field(default_factory=Pretrain)
    warmup: Warmup = Field(default_factory=Warmup)
    optim: Optim = Field(default_factory=Optim)
    agent: Agent = Field(default_factory=Agent)
    monitor: Monitor = Field(default_factory=Monitor)
    trainer: Trainer = Field(default_factory=Trainer)
    tracking: Tracking = Field(default_factory=Tracking)

    @model_validator(mode="after")
    def _check_stages_and_checkpoint(self) -> Config:
        if self.stages not in (["fit"], ["test"], ["fit", "test"]):
            raise ConfigError(f"stages=[{','.join(self.stages)}]: must be [fit], [test] or [fit,test]")
        if self.ckpt == "last" and self.run_dir is None:
            raise ConfigError("ckpt='last': needs run_dir=..., the folder of the run to resume")
        return self


@cache
def settings_of(benchmark: str = "copy_first_input") -> dict[str, Setting]:
    """Return all settings of a run of one benchmark by their full names."""
    found = settings_in(Config)
    for name, field in Config.model_fields.items():
        if field.default_factory is not None:
            section: Any = benchmarks()[benchmark] if name == "data" else field.annotation
            found += settings_in(section, f"{name}.")
    settings = {setting.key: setting for setting in found}
    sentence = settings_in(Data)[0].sentence
    settings["data.name"] = Setting("data.name", Literal[tuple(benchmarks())], benchmark, sentence)
    return settings
