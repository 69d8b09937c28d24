"""The benchmarks, one LightningDataModule a file, and the T-Maze as the gymnasium environment ``TMaze-v0``."""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium

from configs.data import Data
from lightning_warmup.registry import part_class, part_file

if "TMaze-v0" not in gymnasium.registry:
    gymnasium.register(id="TMaze-v0", entry_point="datamodules.tmaze_env:TMazeEnv")


@runtime_checkable
class Benchmark(Protocol):
    """A LightningDataModule from which a recurrent network can be built, trained and measured.

    It may also have ``test_names``, names such as ``length/200`` of the loaders after the first of
    ``test_dataloader()``; ``warmup_dataloader(batch_size)``, endless batches for the warmup, which else shuffles
    the training data itself; ``holding_inputs``, (K, I), inputs under which the task has to hold what it has read,
    which a warmup for rest then takes; and ``automaton()``, the :class:`Automaton` of the task or None, for which
    a network can be proven right; with it ``longest``, symbols of the longest strings of the training, and
    ``length_of(symbols)``, the length of the task, as its settings count it, for a string of so many symbols.

    Attributes:
        input_size: I, features of a step.
        output_size: O, values, classes or actions of an output.
        task: ``"regression"``, ``"classification"`` or ``"control"``; chooses the LightningModule.
        trivial_loss: Loss of the best constant prediction, or None if it is not known.
    """

    input_size: int
    output_size: int
    task: str
    trivial_loss: float | None

    def first_test_batch(self, count: int) -> Any:
        """Return the first ``count`` test sequences as a batch, on which the report measures multistability."""


@runtime_checkable
class ControlBenchmark(Benchmark, Protocol):
    """A benchmark of the task ``"control"``: the module plays its episodes while it learns from them.

    Attributes:
        gradient_steps: Training batches for each episode played.
        episodes_played: Episodes that :meth:`collect` has played.
        solved: Names of two metrics: the one of :meth:`evaluate` that is 1 as soon as a policy solves the task, and
            the one that then says how many episodes had been played.
    """

    gradient_steps: int
    episodes_played: int
    solved: tuple[str, str]

    def collect(self, policy: Callable[..., Any], epsilon: float) -> float:
        """Play the next episode, with exploration of probability ``epsilon``, and return the sum of its rewards."""

    def evaluate(self, policy: Callable[..., Any], gamma: float) -> dict[str, float]:
        """Return the metrics of a policy without exploration: ``return``, ``discounted_return``, and its own."""

    def test(self, policy: Callable[..., Any], gamma: float) -> dict[str, float]:
        """Return the metrics of the trained policy by their full names, such as ``test/return``."""


def datamodule_by_name(name: str) -> type[Any]:
    """Return the class of a benchmark: the only public LightningDataModule that its file defines.

    Raises:
        ValueError: If there is no such file, or it defines none or several. Abstract classes do not count.
    """
    from lightning.pytorch import LightningDataModule  # a second of imports, for those who need it

    file = part_file("data.name", name, sys.modules[__name__])
    return part_class(file, f"data.name={name!r}", LightningDataModule)


def make_benchmark(settings: Data, seed: int = 0, trained: Mapping[str, Any] | None = None) -> Any:
    """Return the LightningDataModule of a benchmark, made from its settings, which is a :class:`Benchmark`.

    Args:
        settings: Settings of the benchmark.
        seed: Seed of the datamodule.
        trained: The content of a checkpoint, whose network is to predict. The datamodule must have a method
            ``predictions``, and its class takes the state that it left there as ``trained``.

    Raises:
        ValueError: If there is no such benchmark, it refuses a setting, or its class lacks something.
    """
    kind = datamodule_by_name(settings.name)
    if trained is None:
        datamodule = kind(settings, seed)
    elif not hasattr(kind, "predictions"):
        raise ValueError(f"data.name={settings.name!r}: has no predictions, only series has")
    elif (state := trained.get(kind.__qualname__)) is None:
        raise ValueError(f"ckpt: holds no units of {settings.name} to predict in; train it anew")
    else:
        datamodule = kind(settings, seed, state)
    protocol = ControlBenchmark if getattr(datamodule, "task", None) == "control" else Benchmark
    names = [key for base in protocol.__mro__[::-1] for key in (*inspect.get_annotations(base), *vars(base))]
    if lacks := [
        key
        for key in names
        if key[0] != "_" and not hasattr(type(datamodule), key) and key not in vars(datamodule)
    ]:
        raise ValueError(
            f"data.name={settings.name!r}: {type(datamodule).__name__} must have {', '.join(lacks)}"
        )
    return datamodule
