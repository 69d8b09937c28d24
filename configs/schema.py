"""Every setting there is: its name, type, default, what is allowed, and a sentence about it.

A benchmark is a class here that derives from `Data` and has a name. The names of cells, initialisations and
objectives are those of the files in their folders.
"""

from __future__ import annotations

from functools import cache, reduce
from math import ceil
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from configs.setting import Section, Setting, settings_in
from configs.trainer import Trainer
from configs.values import ConfigError


def _names_in(folder: str) -> Any:
    """Return the type of the names of the files in a folder of the library."""
    library = Path(__file__).parents[1] / "lightning_warmup"
    return Literal[tuple(sorted(path.stem for path in (library / folder).glob("[!_]*.py")))]


if TYPE_CHECKING:
    Cell = str
    Initialisation = str
    Objective = str
else:
    Cell, Initialisation = _names_in("cells"), _names_in("initialisations")
    Objective = _names_in("procedures/objectives")


class Data(Section):
    """What all benchmarks share."""

    name: str
    """Benchmark to learn."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a training batch, over all processes."""


class _Restitution(Data):
    seq_length: int = Field(100, ge=2)
    """Length of the sequences, in steps."""
    input_size: int = Field(1, ge=1)
    """Values in each step, all of which are to be given back."""
    train_size: int = Field(4800, ge=1)
    """Sequences in the training split."""
    val_size: int = Field(1000, ge=1)
    """Sequences in the validation split."""
    test_size: int = Field(1000, ge=1)
    """Sequences in the test split."""
    test_lengths: list[Annotated[int, Field(ge=2)]] = Field([200, 400, 1000, 3000])
    """Further lengths at which the trained network is tested, in steps."""

    @model_validator(mode="after")
    def _check_that_test_lengths_differ(self) -> _Restitution:
        if len(set(self.test_lengths)) < len(self.test_lengths):
            raise ConfigError(f"data.test_lengths={self.test_lengths}: must be different lengths")
        return self


class CopyFirstInput(_Restitution):
    """Give back at the last step what was seen at the first."""

    name: Literal["copy_first_input"] = "copy_first_input"


class Denoising(_Restitution):
    """Give back five marked values of a noisy sequence."""

    name: Literal["denoising"] = "denoising"
    pad_length: int = Field(5, ge=5)
    """Steps at the end without a mark, the five answers included."""

    @model_validator(mode="after")
    def _check_that_five_marks_fit(self) -> Denoising:
        shortest = self.pad_length + 5
        for key, lengths in {"seq_length": [self.seq_length], "test_lengths": self.test_lengths}.items():
            if min(lengths, default=shortest) < shortest:
                raise ConfigError(f"data.{key}={min(lengths)}: must be >= data.pad_length + 5 = {shortest}")
        return self


class _MNIST(Data):
    root: str = "data/mnist"
    """Folder of the four MNIST files; missing ones are downloaded there."""
    black_pixels: int = Field(5, ge=0)
    """Steps appended to each image, which the network has to remember through."""
    padding: Literal["black", "grey"] = "black"
    """Value of the appended steps: black, or the authors' mid-grey 0.0."""
    train_size: int = Field(48000, ge=1)
    """Images in the training split."""
    val_size: int = Field(12000, ge=1)
    """Images in the validation split."""
    test_size: int = Field(10000, ge=1, le=10000)
    """Images in the test split."""

    @model_validator(mode="after")
    def _check_that_there_are_so_many_images(self) -> _MNIST:
        most = 60000 - self.val_size
        if self.train_size > most:
            raise ConfigError(
                f"data.train_size={self.train_size}: must be at most {most}, 60000 - data.val_size"
            )
        return self


class SequentialMNIST(_MNIST):
    """Classify an image that is read pixel by pixel."""

    name: Literal["sequential_mnist"] = "sequential_mnist"


class PermutedMNIST(_MNIST):
    """Classify an image that is read pixel by pixel, in a fixed random order."""

    name: Literal["permuted_mnist"] = "permuted_mnist"


class RowMNIST(_MNIST):
    """Classify an image that is read 28 pixels at a time."""

    name: Literal["row_mnist"] = "row_mnist"
    rows: Literal["permuted", "natural"] = "permuted"
    """Rows of the permuted image, as in the authors' code, or of the image itself."""


class TMaze(Data):
    """Remember along a corridor which way a cue told to turn, by reinforcement learning."""

    name: Literal["tmaze"] = "tmaze"
    length: int = Field(20, ge=2)
    """Steps from the cue to the junction."""
    stochasticity: float = Field(0.0, ge=0, lt=1)
    """Probability that an action before the junction is replaced by a random one."""
    reward: Literal["outcome", "intention"] = "outcome"
    """Action that is rewarded: the one carried out, or the one intended, as in the authors' code."""
    capacity: int = Field(8192, ge=1)
    """Transitions in the replay buffer."""
    samples: Literal["episodes", "prefixes"] = "episodes"
    """What a training batch holds: whole episodes, learnt at every step, or prefixes, at their last step."""
    gradient_steps: int = Field(10, ge=1)
    """Training batches for each episode played."""
    episodes_per_epoch: int = Field(20, ge=1)
    """Episodes played between two evaluations."""
    test_multiples: list[Annotated[int, Field(ge=1)]] = Field([2, 5, 10, 50])
    """Multiples of the length at which the trained policy is tested as well."""

    @model_validator(mode="after")
    def _check_that_the_longest_episode_fits(self) -> TMaze:
        steps = 3 * self.length
        longest = ceil(steps / (1 - self.stochasticity)) if self.stochasticity else steps - 1
        if self.capacity < longest:
            raise ConfigError(f"data.capacity={self.capacity}: must be >= {longest}, the steps of an episode")
        return self


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
    steps: int = Field(100, ge=1)
    """Gradient steps; with objective=rest their upper limit, over attempts of 150 to 300."""
    lr: float = Field(1e-2, gt=0)
    """Learning rate of the warmup's own Adam; with objective=rest doubled from the third attempt on."""
    batch_size: int = Field(32, ge=2)
    """Sequences in a warmup batch, over all processes."""
    epsilon: float = Field(1e-4, gt=0)
    """Distance below which two states are one equilibrium."""
    target: float = Field(0.95, gt=0, le=1)
    """VAA* to reach, from above or below."""
    max_stabilization: int = Field(200, ge=1)
    """Upper limit of the stabilisation, in steps under a constant input."""
    stabilization_ramp: int = Field(10, ge=0)
    """Steps by which that limit grows with each warmup step, with objective=published."""
    rest_weight: float = Field(0.6, ge=0)
    """Weight in the loss of the states' motion, with objective=rest."""
    silent: list[int] = Field([])
    """Numbers of input channels, from 0, or -1 for the last, that are 0 while states settle, such as a marker;
    with objective=rest."""
    regularize: float = Field(0.0, ge=0)
    """Weight of the objective in the loss of every fourth training step; 0 = none."""
    leaky: bool = False
    """Let a partial warmup also move the second half of lower layers, as in the authors' code."""


class Optim(Section):
    """The training."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam."""
    patience: int | None = Field(None, ge=1)
    """Epochs without improvement of the validation after which training stops; null = never."""
    min_delta: float = Field(0.0, ge=0)
    """Change of the validation that counts as an improvement."""


class Agent(Section):
    """The agent that learns the T-Maze; other benchmarks ignore it."""

    gamma: float = Field(0.98, ge=0, le=1)
    """Discount factor of a step."""
    epsilon: float = Field(0.2, ge=0, le=1)
    """Probability that an action is one of exploration."""
    target_update: int = Field(20, ge=1)
    """Episodes between two updates of the target network."""
    stop_when_optimal: bool = False
    """End the training as soon as an evaluation finds the policy optimal."""


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


def benchmarks() -> dict[str, type[Data]]:
    """Return the settings class of every benchmark by its `data.name`."""
    classes = [value for value in globals().values() if isinstance(value, type) and issubclass(value, Data)]
    fields = [(c.model_fields["name"], c) for c in classes]
    return {name.default: c for name, c in fields if not name.is_required()}


if TYPE_CHECKING:
    Benchmark = Data
else:
    Benchmark = Annotated[reduce(or_, benchmarks().values()), Field(discriminator="name")]


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
        size = getattr(self.data, "train_size", self.warmup.batch_size)
        if self.warmup.enabled and self.warmup.batch_size > size:
            raise ConfigError(
                f"warmup.batch_size={self.warmup.batch_size}: must be at most data.train_size = {size}"
            )
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
