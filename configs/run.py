"""All settings of a run: the root class, and the sections that have no file of their own."""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast, get_origin

from pydantic import Field, model_validator

import configs.data
from configs.data import CopyFirstInput, Data
from configs.model import Model
from configs.optim import Optim
from configs.setting import Setting, described, require_defaults, settings_in
from configs.trainer import Trainer
from configs.values import ConfigError, UserPath
from configs.warmup import Pretrain, Warmup
from lightning_warmup.procedures.objectives import objective_by_name, objective_names
from lightning_warmup.settings import Settings, members


def benchmarks() -> dict[str, type[Data]]:
    """Return the settings class of every benchmark by its `data.name`."""
    found = [value for value in vars(configs.data).values() if isinstance(value, type)]
    fields = [(c.model_fields["name"], c) for c in found if issubclass(c, Data)]
    return {name.default: c for name, c in fields if not name.is_required()}


if TYPE_CHECKING:
    Benchmark = Data
else:
    Benchmark = Annotated[reduce(or_, benchmarks().values()), Field(discriminator="name")]


class Agent(Settings):
    """The agent that learns tmaze or gym; other benchmarks ignore it."""

    gamma: float = Field(0.98, ge=0, le=1)
    """Discount factor per step."""
    epsilon: float = Field(0.2, ge=0, le=1)
    """Probability that an action is random, for exploration."""
    target_update: int = Field(20, ge=1)
    """Episodes between two updates of the target network."""
    stop_when_optimal: bool = False
    """Stop the training as soon as an evaluation finds the policy optimal, or the environment solved."""


class Proof(Settings):
    """A proof that the network is right at every length; the benchmark must have an automaton."""

    steps: int = Field(0, ge=0)
    """Maximum number of gradient steps that make the best network provable after the training, in each of at most
    four attempts; 0 = no proof."""
    radius: float = Field(0.05, gt=0)
    """Required half-width of the boxes of hidden states."""


class Monitor(Settings):
    """How multistability is measured."""

    steps: int = Field(2000, ge=1)
    """Steps under a constant input before the report compares the states."""
    every_n_epochs: int | None = Field(None, ge=1)
    """Epochs between two measurements during training, each over 1000 constant steps; null = no measurements."""


class Tracking(Settings):
    """Weights & Biases; a CSV log is always written."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases: auto is online if an API key is set, otherwise offline."""
    project: str = "lightning-warmup"
    """Project in which the run appears."""
    entity: str | None = None
    """User or team that owns the run; null = the owner of the API key."""
    name: str | None = None
    """Name of the run; null = the name of its folder."""
    group: str | None = None
    """Group of runs that this run belongs to."""
    tags: list[str] = Field([])
    """Tags of the run."""


class Config(Settings):
    """A whole configuration."""

    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of all random numbers in the run."""
    stages: list[Literal["fit", "test", "predict", "export"]] = Field(["fit", "test"])
    """What to run: [fit], [test], [fit,test], [predict] for predictions.csv, or [export] for step.onnx."""
    ckpt: UserPath | None = None
    """Checkpoint to resume from or to test: a path, or last for the newest one in run_dir."""
    ckpt_interval: float = Field(60.0, ge=0)
    """Maximum time between two checkpoints, in seconds."""
    run_dir: UserPath | None = None
    """Folder of this run only; null = a new one under runs/."""
    data: Benchmark = Field(default_factory=CopyFirstInput)
    model: Model = Field(default_factory=Model)
    pretrain: Pretrain = Field(default_factory=Pretrain)
    warmup: Warmup = Field(default_factory=Warmup)
    optim: Optim = Field(default_factory=Optim)
    agent: Agent = Field(default_factory=Agent)
    proof: Proof = Field(default_factory=Proof)
    monitor: Monitor = Field(default_factory=Monitor)
    trainer: Trainer = Field(default_factory=Trainer)
    tracking: Tracking = Field(default_factory=Tracking)

    @model_validator(mode="after")
    def _check_stages_and_checkpoint(self) -> Config:
        if self.stages not in (["fit"], ["test"], ["fit", "test"], ["predict"], ["export"]):
            allowed = "[fit], [test], [fit,test], [predict] or [export]"
            raise ConfigError(f"stages=[{','.join(self.stages)}]: must be {allowed}")
        if self.ckpt == "last" and self.run_dir is None:
            raise ConfigError("ckpt='last': needs run_dir, the folder of the run to resume")
        return self

    @model_validator(mode="after")
    def _check_settings_that_need_others(self) -> Config:
        if self.warmup.leaky and not self.model.double:
            raise ConfigError(
                "warmup.leaky=true: must be false with model.double=false, which freezes nothing"
            )
        endless = self.trainer.max_epochs == -1 and self.trainer.max_steps == -1
        if self.optim.schedule in ("cosine", "one_cycle") and endless:
            needs = "needs trainer.max_epochs or trainer.max_steps, the end of the training"
            raise ConfigError(f"optim.schedule={self.optim.schedule}: {needs}")
        return self

    def stage_batches(self) -> dict[str, int]:
        """Return the batch sizes of the stages before the training, by section."""
        runs = {"warmup": self.warmup.enabled, "pretrain": self.pretrain.task != "none"}
        return {name: getattr(self, name).batch_size for name in runs if runs[name]}

    def check_against(self, datamodule: Any) -> None:
        """Check the settings that depend on the data: batch sizes, processes, and an automaton for a proof.

        Raises:
            ConfigError: If the data do not allow a setting.
        """
        sizes = getattr(datamodule, "sizes", {})
        most = sizes.get("train", float("inf"))
        for name, size in self.stage_batches().items():
            if most < 2:
                raise ConfigError(f"{name}: needs at least 2 training sequences, and there is only {most}")
            if size > most:
                raise ConfigError(
                    f"{name}.batch_size={size}: must be at most {most}, the number of training sequences"
                )
        processes = self.trainer.processes or 1
        for split, size in sizes.items():
            if size < processes:
                raise ConfigError(
                    f"data: the {split} split has {size}: must be at least {processes}, one each"
                )
        steps = self.proof.steps
        if steps and getattr(datamodule, "automaton", lambda: None)() is None:
            raise ConfigError(f"proof.steps={steps}: must be 0, since {self.data.name} has no automaton")


class Choice(NamedTuple):
    """A setting whose value decides which other settings its section has.

    Attributes:
        key: Full name of the setting.
        default: Its value where none is given.
        common: Settings of the section whatever is chosen; its class has the sentence about the choice itself.
        kinds: What the section has beside these, by the values of the setting.
    """

    key: str
    default: str
    common: type[Settings]
    kinds: dict[str, type[Settings]]

    def settings(self, value: str) -> list[Setting]:
        """Return the settings of the section for a value of the choice."""
        section, _, name = self.key.rpartition(".")
        require_defaults(self.kinds[value])
        own = Setting(self.key, Literal[tuple(self.kinds)], value, described(self.common, name))
        others = settings_in(self.common, f"{section}.") + settings_in(self.kinds[value], f"{section}.")
        by_key = {setting.key: setting for setting in others} | {self.key: own}
        order = [f"{section}.{name}" for name in self.common.model_fields]
        return [by_key.pop(key) for key in order] + list(by_key.values())


@cache
def choices() -> dict[str, Choice]:
    """Return the sections whose settings depend on a choice, by name."""
    objectives = {name: objective_by_name(name) for name in objective_names()}
    return {
        "data": Choice("data.name", CopyFirstInput().name, Data, dict(benchmarks())),
        "warmup": Choice("warmup.objective", Warmup().objective.name, Warmup, dict(objectives)),
    }


@cache
def mappings() -> set[str]:
    """Return the names of all settings whose value is a mapping, for every choice."""
    found = [each for choice in choices().values() for kind in choice.kinds for each in choice.settings(kind)]
    return {setting.key for setting in found if get_origin(members(setting.kind)[0]) is dict}


@cache
def settings_of(**chosen: str) -> dict[str, Setting]:
    """Return all settings of a run by full name.

    Args:
        chosen: The choices by section, such as ``data="denoising"``.
    """
    found = settings_in(Config)
    for name, field in Config.model_fields.items():
        if name in choices():
            choice = choices()[name]
            found += choice.settings(chosen.get(name, choice.default))
        elif field.default_factory is not None:
            found += settings_in(cast(type[Settings], field.annotation), f"{name}.")
    return {setting.key: setting for setting in found}
