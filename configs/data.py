"""The settings of each benchmark: a class that derives from `Data` and has a name."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.values import UserPath
from lightning_warmup.settings import Settings


class Data(Settings):
    """What all benchmarks share."""

    name: str
    """Benchmark to learn."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a training batch, over all processes."""


def _check_that_they_differ(key: str, values: Sequence[float]) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"data.{key}={values}: must be different values")


class Generated(Data):
    """What all benchmarks share whose sequences are drawn at random."""

    seq_length: int = Field(100, ge=2)
    """Length of the sequences, in steps."""
    train_size: int = Field(4800, ge=1)
    """Sequences in the training split."""
    val_size: int = Field(1000, ge=1)
    """Sequences in the validation split."""
    test_size: int = Field(1000, ge=1)
    """Sequences in the test split."""
    test_lengths: list[Annotated[int, Field(ge=2)]] = Field([200, 400, 1000, 3000])
    """Further lengths at which the trained network is tested, in steps."""

    @model_validator(mode="after")
    def _check_that_test_lengths_differ(self) -> Generated:
        _check_that_they_differ("test_lengths", self.test_lengths)
        return self


class _Restitution(Generated):
    input_size: int = Field(1, ge=1)
    """Values in each step, all of which are to be given back."""


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
                raise ValueError(f"data.{key}={min(lengths)}: must be >= data.pad_length + 5 = {shortest}")
        return self


class FlipFlop(Generated):
    """Give back at every read the bit that was last written, whatever is to be ignored."""

    name: Literal["flip_flop"] = "flip_flop"
    seq_length: int = Field(512, ge=4)
    """Length of the sequences in tokens, two for each instruction and its bit; even."""
    ignore: float = Field(0.8, ge=0, le=1)
    """Probability that an instruction is to ignore its bit; else it writes or reads one."""
    test_ignore: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.98, 0.1])
    """Further such probabilities at which the trained network is tested: long holding, frequent overwriting."""
    test_size: int = Field(1000, ge=1)
    """Sequences in the test split, and at each of the further probabilities."""
    test_lengths: list[Annotated[int, Field(ge=4)]] = Field([1024, 5120])
    """Further lengths at which the trained network is tested, in tokens; even."""

    @model_validator(mode="after")
    def _check_that_lengths_are_even_and_tests_differ(self) -> FlipFlop:
        for key, lengths in {"seq_length": [self.seq_length], "test_lengths": self.test_lengths}.items():
            if odd := [length for length in lengths if length % 2]:
                raise ValueError(f"data.{key}={odd[0]}: must be even, instructions and bits take turns")
        _check_that_they_differ("test_ignore", self.test_ignore)
        return self


class Forecast(Generated):
    """Give at the last step the values that follow, of a seasonal series with trend and noise."""

    name: Literal["forecast"] = "forecast"
    horizon: int = Field(24, ge=1)
    """Values to forecast."""
    period: int = Field(24, ge=2)
    """Steps of a season."""
    noise: float = Field(0.2, ge=0)
    """Standard deviation of the noise in each step."""
    test_lengths: list[Annotated[int, Field(ge=2)]] = Field([200])
    """Further lengths at which the trained network is tested, in steps."""


class MNIST(Data):
    """What the benchmarks of MNIST share."""

    root: UserPath = "data/mnist"
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
    def _check_that_there_are_so_many_images(self) -> MNIST:
        most = 60000 - self.val_size
        if self.train_size > most:
            raise ValueError(
                f"data.train_size={self.train_size}: must be at most {most}, 60000 - data.val_size"
            )
        return self


class SequentialMNIST(MNIST):
    """Classify an image that is read pixel by pixel."""

    name: Literal["sequential_mnist"] = "sequential_mnist"


class PermutedMNIST(MNIST):
    """Classify an image that is read pixel by pixel, in a fixed random order."""

    name: Literal["permuted_mnist"] = "permuted_mnist"


class RowMNIST(MNIST):
    """Classify an image that is read 28 pixels at a time."""

    name: Literal["row_mnist"] = "row_mnist"
    rows: Literal["permuted", "natural"] = "permuted"
    """Rows of the permuted image, as in the authors' code, or of the image itself."""


class Series(Data):
    """Give the class or the values of each sequence of a file, at its last step or at every step."""

    name: Literal["series"] = "series"
    root: UserPath = "data/series.npz"
    """File of the sequences: .npz, or .ts of the UCR and UEA archives."""
    layout: Literal["NTC", "NCT"] | None = None
    """Axes of x in a .npz file: NTC for sequences, steps, channels; NCT for sequences, channels, steps; null = NTC,
    but refused where there are more channels than steps."""
    test_root: UserPath | None = None
    """File of the test sequences; null = a part of root."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """Part of the sequences in root for validation."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """Part of the sequences in root for the test, without test_root."""


class Episodes(Data):
    """What the benchmarks share that are learnt from episodes."""

    capacity: int = Field(8192, ge=1)
    """Transitions in the replay buffer."""
    samples: Literal["episodes", "prefixes"] = "episodes"
    """What a training batch holds: whole episodes, learnt at every step, or prefixes, at their last step."""
    gradient_steps: int = Field(10, ge=1)
    """Training batches for each episode played."""
    episodes_per_epoch: int = Field(20, ge=1)
    """Episodes played between two evaluations."""
    evaluation_episodes: int = Field(50, ge=1)
    """Episodes of an evaluation, the same every time; the T-Maze needs two, unless chance decides in it."""


class TMaze(Episodes):
    """Remember along a corridor which way a cue told to turn, by reinforcement learning."""

    name: Literal["tmaze"] = "tmaze"
    length: int = Field(20, ge=2)
    """Steps from the cue to the junction."""
    stochasticity: float = Field(0.0, ge=0, lt=1)
    """Probability that an action before the junction is replaced by a random one."""
    reward: Literal["outcome", "intention", "passive"] = "outcome"
    """Action that is rewarded: the one carried out, or the one intended, as in the authors' code; or passive, the
    T-Maze of Ni et al. (2023): length + 1 steps, 1 for the right end, -1 / length for each step behind."""
    test_multiples: list[Annotated[int, Field(ge=1)]] = Field([2, 5, 10, 50])
    """Multiples of the length at which the trained policy is tested as well."""

    @model_validator(mode="after")
    def _check_that_the_longest_episode_fits(self) -> TMaze:
        if self.reward == "passive" and self.stochasticity:
            raise ValueError(f"data.stochasticity={self.stochasticity}: must be 0 with data.reward=passive")
        steps = 3 * self.length if self.reward != "passive" else self.length + 2
        longest = ceil(steps / (1 - self.stochasticity)) if self.stochasticity else steps - 1
        if self.capacity < longest:
            raise ValueError(f"data.capacity={self.capacity}: must be >= {longest}, the steps of an episode")
        return self


class Gym(Episodes):
    """Learn any gymnasium environment with discrete actions, by reinforcement learning."""

    name: Literal["gym"] = "gym"
    env_id: str = "TMaze-v0"
    """Environment, after the module that registers it: popgym:popgym-RepeatFirstEasy-v0."""
    env_kwargs: dict[str, bool | int | float | str | None] = Field({})
    """Arguments of the environment: {is_slippery: false}."""
    max_episode_steps: int | None = Field(None, ge=1)
    """Steps after which an episode is cut; null = as many as the environment says."""
    threshold: float | None = None
    """Mean return from which on the environment counts as solved; null = what it says, if anything."""
