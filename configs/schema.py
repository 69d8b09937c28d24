"""Every setting there is: its name, type, default, what is allowed, and a sentence about it.

A benchmark is a dataclass here that derives from `Data`, and `data.name` is the class's name in snake case; a
class whose name begins with an underscore only lends its fields. The names of cells and initialisations are
those of the files in their folders. Checks of several settings at once are in `__post_init__`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from configs.setting import setting
from configs.trainer import Trainer
from configs.values import ConfigError

_LIBRARY = Path(__file__).parents[1] / "lightning_warmup"


def snake(name: str) -> str:
    """The name of a class in snake case: ``CopyFirstInput`` gives ``copy_first_input``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def benchmarks() -> dict[str, type[Data]]:
    """The settings class of every benchmark by its `data.name`."""
    classes = [value for value in globals().values() if isinstance(value, type) and issubclass(value, Data)]
    return {snake(c.__name__): c for c in classes if c is not Data and not c.__name__.startswith("_")}


def _files_in(folder: str) -> list[str]:
    return sorted(path.stem for path in (_LIBRARY / folder).glob("[!_]*.py"))


@dataclass
class Data:
    """What all benchmarks share."""

    name: str = setting("", "Benchmark to learn.", choices=lambda: list(benchmarks()))
    batch_size: int = setting(32, "Sequences in a global training batch, over all processes.", minimum=1)

    def __post_init__(self) -> None:
        """Fills in the name, which is that of the class."""
        self.name = snake(type(self).__name__)


@dataclass
class _Restitution(Data):
    seq_length: int = setting(100, "Length of the sequences, in steps.", minimum=2)
    input_size: int = setting(1, "Values in each step, all of which are to be given back.", minimum=1)
    train_size: int = setting(4800, "Sequences in the training split.", minimum=1)
    val_size: int = setting(1000, "Sequences in the validation split.", minimum=1)
    test_size: int = setting(1000, "Sequences in the test split.", minimum=1)
    test_lengths: list[int] = setting(
        [200, 400, 1000, 3000], "Lengths at which the trained network is tested too, in steps.", minimum=2
    )

    def __post_init__(self) -> None:
        """Checks that no length comes twice."""
        super().__post_init__()
        if len(set(self.test_lengths)) < len(self.test_lengths):
            raise ConfigError(f"data.test_lengths={self.test_lengths}: must be different lengths")


@dataclass
class CopyFirstInput(_Restitution):
    """Give back at the last step what was seen at the first."""


@dataclass
class Denoising(_Restitution):
    """Give back five marked values of a noisy sequence."""

    pad_length: int = setting(5, "Steps at the end without a mark, the five answers included.", minimum=5)

    def __post_init__(self) -> None:
        """Checks that five marks fit before the window without marks."""
        super().__post_init__()
        shortest = self.pad_length + 5
        for key, lengths in {"seq_length": [self.seq_length], "test_lengths": self.test_lengths}.items():
            if min(lengths, default=shortest) < shortest:
                raise ConfigError(f"data.{key}={min(lengths)}: must be >= data.pad_length + 5 = {shortest}")


@dataclass
class _MNIST(Data):
    root: str = setting("data/mnist", "Folder of the four MNIST files; those missing are downloaded there.")
    black_pixels: int = setting(5, "Steps appended to each image, to remember through.", minimum=0)
    padding: str = setting(
        "black", "What is appended: black, or the authors' mid-grey 0.0.", choices=("black", "grey")
    )
    train_size: int = setting(48000, "Images in the training split.", minimum=1)
    val_size: int = setting(12000, "Images in the validation split.", minimum=1)
    test_size: int = setting(10000, "Images in the test split.", minimum=1, maximum=10000)

    def __post_init__(self) -> None:
        """Checks that there are as many training images."""
        super().__post_init__()
        if self.train_size + self.val_size > 60000:
            raise ConfigError(
                f"data.train_size={self.train_size}: must be at most {60000 - self.val_size}, 60000 - data.val_size"
            )


@dataclass
class SequentialMNIST(_MNIST):
    """Classify an image that is read pixel by pixel."""


@dataclass
class PermutedMNIST(_MNIST):
    """Classify an image that is read pixel by pixel, in a fixed random order."""


@dataclass
class RowMNIST(_MNIST):
    """Classify an image that is read 28 pixels at a time."""

    rows: str = setting(
        "permuted",
        "Rows of the permuted image, as the authors have them, or its own.",
        choices=("permuted", "natural"),
    )


@dataclass
class TMaze(Data):
    """Remember along a corridor which way a cue told to turn, by reinforcement learning."""

    length: int = setting(20, "Steps from the cue to the junction.", minimum=2)
    stochasticity: float = setting(
        0.0,
        "Probability, below 1, that an action before the junction is replaced by a random one.",
        minimum=0,
    )
    reward: str = setting(
        "outcome",
        "Action that is judged: the one carried out, or the one intended, as in the authors' code.",
        choices=("outcome", "intention"),
    )
    capacity: int = setting(8192, "Transitions in the replay buffer.", minimum=1)
    samples: str = setting(
        "episodes",
        "What is learnt from: whole episodes at all their steps, or prefixes at their last step alone.",
        choices=("episodes", "prefixes"),
    )
    gradient_steps: int = setting(10, "Training batches for each episode played.", minimum=1)
    episodes_per_epoch: int = setting(20, "Episodes played between two evaluations.", minimum=1)
    test_multiples: list[int] = setting(
        [2, 5, 10, 50], "Multiples of the length at which the trained policy is tested too.", minimum=1
    )

    def __post_init__(self) -> None:
        """Checks that actions count, and that the longest episode fits into the buffer."""
        super().__post_init__()
        if self.stochasticity >= 1:
            raise ConfigError(f"data.stochasticity={self.stochasticity}: must be >= 0 and < 1")
        longest = (
            ceil(3 * self.length / (1 - self.stochasticity)) if self.stochasticity else 3 * self.length - 1
        )
        if self.capacity < longest:
            raise ConfigError(f"data.capacity={self.capacity}: must be >= {longest}, the steps of an episode")


@dataclass
class Model:
    """The recurrent network."""

    cell: str = setting("gru", "Recurrent cell.", choices=_files_in("cells"))
    hidden_size: int = setting(128, "Units in a layer, both halves of a double layer included.", minimum=1)
    num_layers: int = setting(2, "Recurrent layers.", minimum=1)
    double: bool = setting(False, "Build each layer of two halves, of which the warmup moves only the first.")
    init: str = setting("default", "Initialisation of the cell.", choices=_files_in("initialisations"))
    t_max: int = setting(600, "Longest time scale of the chrono initialisation, in steps.", minimum=3)

    def __post_init__(self) -> None:
        """Checks that a double layer can be halved."""
        if self.double and self.hidden_size % 2:
            raise ConfigError(f"model.hidden_size={self.hidden_size}: must be even with model.double=true")


@dataclass
class Warmup:
    """The warmup before the training."""

    enabled: bool = setting(True, "Warm the network up before it is trained.")
    objective: str = setting(
        "published",
        "Aim at VAA* alone, or at states that come to rest apart from each other as well.",
        choices=("published", "rest"),
    )
    steps: int = setting(
        100, "Gradient steps; with objective=rest the most of them, over attempts of 150 to 300.", minimum=1
    )
    lr: float = setting(
        1e-2,
        "Learning rate of the warmup's own Adam; with objective=rest twice as much from the third attempt on.",
        above=0,
    )
    batch_size: int = setting(32, "Sequences in a global warmup batch, over all processes.", minimum=2)
    epsilon: float = setting(1e-4, "Distance below which two states are one equilibrium.", above=0)
    target: float = setting(0.95, "VAA* that is aimed at, from both sides.", above=0, maximum=1)
    max_stabilization: int = setting(200, "Upper limit of the stabilisation, in constant steps.", minimum=1)
    stabilization_ramp: int = setting(
        10, "Growth of the longest stabilisation with each warmup step, with objective=published.", minimum=0
    )
    rest_weight: float = setting(
        0.6, "Weight of what keeps states from rest, with objective=rest.", minimum=0
    )
    silent: list[int] = setting(
        [],
        "Numbers of input channels, from 0, or -1 for the last, that are 0 while states settle, such as a marker; "
        "with objective=rest.",
    )
    regularize: float = setting(
        0.0, "Weight of the objective in the loss of every fourth training step; 0 = none.", minimum=0
    )
    leaky: bool = setting(
        False, "Let a partial warmup also move the second half of lower layers, as the authors' code does."
    )


@dataclass
class Optim:
    """The training."""

    lr: float = setting(1e-3, "Learning rate of Adam.", above=0)
    patience: int | None = setting(
        None,
        "Epochs without improvement of the validation after which training stops; null = never.",
        minimum=1,
    )
    min_delta: float = setting(0.0, "Change of the validation that counts as an improvement.", minimum=0)


@dataclass
class Agent:
    """The agent that learns the T-Maze; of no matter to the other benchmarks."""

    gamma: float = setting(0.98, "Discount of a step.", minimum=0, maximum=1)
    epsilon: float = setting(0.2, "Probability of an action to be one of exploration.", minimum=0, maximum=1)
    target_update: int = setting(20, "Episodes between two updates of the target network.", minimum=1)
    stop_when_optimal: bool = setting(False, "End the training when a policy is seen to be optimal.")


@dataclass
class Monitor:
    """The measure of multistability."""

    steps: int = setting(
        2000, "Steps under a constant input before states are compared in the report.", minimum=1
    )
    every_n_epochs: int | None = setting(
        None, "Epochs between two measurements during the training, of 1000 steps; null = none.", minimum=1
    )


@dataclass
class Pretrain:
    """A pretraining before the training, and before the warmup."""

    task: str = setting(
        "none",
        "What the network is pretrained to give back: each sequence from its final state, or each next step.",
        choices=("none", "autoencode", "next_step"),
    )
    steps: int = setting(300, "Gradient steps.", minimum=1)
    lr: float = setting(1e-3, "Learning rate of the pretraining's own Adam.", above=0)
    batch_size: int = setting(32, "Sequences in a global pretraining batch, over all processes.", minimum=1)


@dataclass
class Tracking:
    """Weights & Biases; a CSV log is always kept."""

    wandb: str = setting(
        "auto",
        "Weights & Biases: auto is online where an API key is set, else offline.",
        choices=("auto", "online", "offline", "disabled"),
    )
    project: str = setting("lightning-warmup", "Project in which the run appears.")
    entity: str | None = setting(None, "User or team it belongs to; null = that of the API key.")
    name: str | None = setting(None, "Name of the run; null = that of its folder.")
    group: str | None = setting(None, "Group of runs it belongs to.")
    tags: list[str] = setting([], "Tags of the run.")


@dataclass
class Config:
    """A whole configuration."""

    seed: int = setting(0, "Seed of everything random in the run.", minimum=0, maximum=2**32 - 1)
    stages: list[str] = setting(["fit", "test"], "Stages to run, in this order.", choices=("fit", "test"))
    ckpt: str | None = setting(
        None, "Checkpoint to go on from or to test: a path, or last for the newest in run_dir."
    )
    ckpt_interval: float = setting(60.0, "Longest time between two checkpoints, in seconds.", minimum=0)
    run_dir: str | None = setting(None, "Folder of this run alone; null = a new one under runs/.")
    data: Data = field(default_factory=CopyFirstInput)
    model: Model = field(default_factory=Model)
    pretrain: Pretrain = field(default_factory=Pretrain)
    warmup: Warmup = field(default_factory=Warmup)
    optim: Optim = field(default_factory=Optim)
    agent: Agent = field(default_factory=Agent)
    monitor: Monitor = field(default_factory=Monitor)
    trainer: Trainer = field(default_factory=Trainer)
    tracking: Tracking = field(default_factory=Tracking)

    def __post_init__(self) -> None:
        """Checks the order of the stages, and that a run to go on with is named."""
        if self.stages not in (["fit"], ["test"], ["fit", "test"]):
            raise ConfigError(f"stages=[{','.join(self.stages)}]: must be [fit], [test] or [fit,test]")
        size = getattr(self.data, "train_size", self.warmup.batch_size)
        if self.warmup.enabled and self.warmup.batch_size > size:
            raise ConfigError(
                f"warmup.batch_size={self.warmup.batch_size}: must be at most data.train_size = {size}"
            )
        if self.ckpt == "last" and self.run_dir is None:
            raise ConfigError("ckpt='last': needs run_dir=..., the folder of the run to go on with")
