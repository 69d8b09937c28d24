"""The settings of each benchmark: a subclass of `Data` with a name."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.values import UserPath
from lightning_warmup.settings import Settings


class Data(Settings):
    """Settings that all benchmarks share."""

    name: str
    """Benchmark to learn."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a training batch, over all processes."""


def _check_different(key: str, values: Sequence[float]) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"data.{key}={values}: must be different values")


class Generated(Data):
    """Settings that all benchmarks with random sequences share."""

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
    def _check_test_lengths(self) -> Generated:
        _check_different("test_lengths", self.test_lengths)
        return self


class _Restitution(Generated):
    input_size: int = Field(1, ge=1)
    """Values in each step; the network must give back all of them."""


class CopyFirstInput(_Restitution):
    """Give back the first step of the sequence at the last."""

    name: Literal["copy_first_input"] = "copy_first_input"


class Denoising(_Restitution):
    """Give back five marked values of a noisy sequence, in their order."""

    name: Literal["denoising"] = "denoising"
    pad_length: int = Field(5, ge=5)
    """Steps without a mark at the end of a sequence, including the five answers."""

    @model_validator(mode="after")
    def _check_room_for_marks(self) -> Denoising:
        shortest = self.pad_length + 5
        for key, lengths in {"seq_length": [self.seq_length], "test_lengths": self.test_lengths}.items():
            if min(lengths, default=shortest) < shortest:
                raise ValueError(f"data.{key}={min(lengths)}: must be >= data.pad_length + 5 = {shortest}")
        return self


class FlipFlop(Generated):
    """At every read, give back the bit that was last written."""

    name: Literal["flip_flop"] = "flip_flop"
    seq_length: int = Field(512, ge=4)
    """Length of the sequences in tokens, an even number: an instruction and its bit are two tokens."""
    ignore: float = Field(0.8, ge=0, le=1)
    """Probability that the network must ignore the bit; otherwise the instruction is a write or a read."""
    test_ignore: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.98, 0.1])
    """Further values of ignore for tests: a high one needs long memory, a low one overwrites often."""
    test_size: int = Field(1000, ge=1)
    """Sequences in the test split, and for each value of test_ignore."""
    test_lengths: list[Annotated[int, Field(ge=4)]] = Field([1024, 5120])
    """Further lengths at which the trained network is tested, in tokens; even numbers."""

    @model_validator(mode="after")
    def _check_lengths_and_test_ignore(self) -> FlipFlop:
        for key, lengths in {"seq_length": [self.seq_length], "test_lengths": self.test_lengths}.items():
            if odd := [length for length in lengths if length % 2]:
                raise ValueError(f"data.{key}={odd[0]}: must be even, instructions and bits alternate")
        _check_different("test_ignore", self.test_ignore)
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
    """Settings that the MNIST benchmarks share."""

    root: UserPath = "data/mnist"
    """Folder of the four MNIST files; missing files are downloaded into it."""
    black_pixels: int = Field(5, ge=0)
    """Blank steps after each image, during which the network must remember it."""
    padding: Literal["black", "grey"] = "black"
    """Value of the blank steps: black, or the authors' mid-grey 0.0."""
    train_size: int = Field(48000, ge=1)
    """Images in the training split."""
    val_size: int = Field(12000, ge=1)
    """Images in the validation split."""
    test_size: int = Field(10000, ge=1, le=10000)
    """Images in the test split."""

    @model_validator(mode="after")
    def _check_number_of_images(self) -> MNIST:
        most = 60000 - self.val_size
        if self.train_size > most:
            raise ValueError(
                f"data.train_size={self.train_size}: must be at most {most}, 60000 - data.val_size"
            )
        return self


class SequentialMNIST(MNIST):
    """Classify an image read pixel by pixel."""

    name: Literal["sequential_mnist"] = "sequential_mnist"


class PermutedMNIST(MNIST):
    """Classify an image read pixel by pixel in a fixed random order."""

    name: Literal["permuted_mnist"] = "permuted_mnist"


class RowMNIST(MNIST):
    """Classify an image read 28 pixels at a time."""

    name: Literal["row_mnist"] = "row_mnist"
    rows: Literal["permuted", "natural"] = "permuted"
    """Rows of the permuted image, as in the authors' code, or of the original image."""


class Series(Data):
    """Predict a class or values for sequences of your own, at the last step or at every step."""

    name: Literal["series"] = "series"
    root: UserPath = "data/series.npz"
    """File of the sequences: .npz, or .ts from the UCR and UEA archives."""
    layout: Literal["NTC", "NCT"] | None = None
    """Axes of x in a .npz file: NTC for sequences, steps, channels; NCT for sequences, channels, steps; null = NTC,
    with an error if there are more channels than steps."""
    test_root: UserPath | None = None
    """File of the test sequences; null = take test_fraction of root."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """Fraction of the sequences in root for validation."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """Fraction of the sequences in root for the test, if test_root=null."""

    @model_validator(mode="after")
    def _check_fractions(self) -> Series:
        rest = 1 - self.test_fraction
        if self.test_root is None and self.val_fraction >= rest:
            raise ValueError(
                f"data.val_fraction={self.val_fraction}: must be < {rest:g}, 1 - data.test_fraction"
            )
        return self


class Episodes(Data):
    """Settings that all benchmarks of reinforcement learning share."""

    capacity: int = Field(8192, ge=1)
    """Transitions in the replay buffer."""
    samples: Literal["episodes", "prefixes"] = "episodes"
    """A training batch holds episodes, with a loss at every step, or prefixes, with a loss at the last."""
    gradient_steps: int = Field(10, ge=1)
    """Training batches after each episode played."""
    episodes_per_epoch: int = Field(20, ge=1)
    """Episodes played between two evaluations."""
    evaluation_episodes: int = Field(50, ge=1)
    """Episodes of a validation, always the same ones, and of a test, which are others; two in a T-Maze without
    stochasticity."""


class TMaze(Episodes):
    """Remember along a corridor which way to turn at its end, by reinforcement learning."""

    name: Literal["tmaze"] = "tmaze"
    length: int = Field(20, ge=2)
    """Steps from the cue to the junction."""
    stochasticity: float = Field(0.0, ge=0, lt=1)
    """Probability that a random action replaces the chosen one, before the junction."""
    reward: Literal["outcome", "intention", "passive"] = "outcome"
    """Which action is rewarded: the one carried out, or the one chosen, as in the authors' code; or passive, the
    T-Maze of Ni et al. (2023): length + 1 steps, 1 for the right end, -1 / length for each step behind."""
    test_multiples: list[Annotated[int, Field(ge=1)]] = Field([2, 5, 10, 50])
    """The trained policy is also tested at these multiples of length."""

    @model_validator(mode="after")
    def _check_capacity(self) -> TMaze:
        _check_different("test_multiples", self.test_multiples)
        if self.reward == "passive" and self.stochasticity:
            raise ValueError(f"data.stochasticity={self.stochasticity}: must be 0 with data.reward=passive")
        steps = 3 * self.length if self.reward != "passive" else self.length + 2
        longest = ceil(steps / (1 - self.stochasticity)) if self.stochasticity else steps - 1
        if self.capacity < longest:
            raise ValueError(
                f"data.capacity={self.capacity}: must be >= {longest}, the steps of the longest episode"
            )
        return self


class Gym(Episodes):
    """Learn a gymnasium environment with discrete actions, by reinforcement learning."""

    name: Literal["gym"] = "gym"
    env_id: str = "TMaze-v0"
    """Id of the environment, as module:id if a module registers it: popgym:popgym-RepeatFirstEasy-v0."""
    env_kwargs: dict[str, bool | int | float | str | None] = Field({})
    """Arguments of the environment, such as {is_slippery: false}."""
    max_episode_steps: int | None = Field(None, ge=1)
    """Steps after which an episode is cut off; null = the environment's own limit."""
    threshold: float | None = None
    """Mean return at which the environment counts as solved; null = the environment's own threshold, if any."""
