"""The benchmarks, one LightningDataModule a file, and the T-Maze as the gymnasium environment ``TMaze-v0``."""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import gymnasium

from configs.data import Data
from lightning_warmup.registry import part_class, part_file

if "TMaze-v0" not in gymnasium.registry:
    gymnasium.register(id="TMaze-v0", entry_point="datamodules.tmaze_env:TMazeEnv")


class Benchmark(Protocol):
    """A LightningDataModule that ``train.py`` can train a network on.

    Optional attributes and methods:

    - ``test_names``: names of the loaders after the first of ``test_dataloader()``, such as ``length/200``;
    - ``warmup_dataloader(batch_size)``: endless batches for the warmup, instead of the training data;
    - ``holding_inputs``: inputs (K, I) during which the task must remember, used by a warmup for rest;
    - ``automaton()``: the :class:`Automaton` of the task or None, for a proof. A proof also needs ``longest``, the
      number of symbols of the longest training string, and ``length_of(symbols)``, the length of the task, as in
      its settings, for a string of so many symbols.

    Attributes:
        input_size: I, features of a step.
        output_size: O, number of values, classes or actions.
        task: ``"regression"``, ``"classification"`` or ``"control"``; selects the LightningModule.
        trivial_loss: Loss of the best constant prediction, or None if it is unknown.
    """

    input_size: int
    output_size: int
    task: str
    trivial_loss: float | None

    def first_test_batch(self, count: int) -> Any:
        """Return the first ``count`` test sequences as a batch; the report measures multistability on them."""


class ControlBenchmark(Benchmark, Protocol):
    """A benchmark of the task ``"control"``, whose episodes the module plays while it learns from them.

    Attributes:
        gradient_steps: Training batches after each episode played.
        episodes_played: Number of episodes that :meth:`collect` has played.
        judged_by: The metric of :meth:`evaluate` by which the best policy is chosen.
        solved: Names of two metrics: one of :meth:`evaluate` that is 1 if the policy solves the task, and one for
            the number of episodes played until then.
    """

    gradient_steps: int
    episodes_played: int
    judged_by: str
    solved: tuple[str, str]

    def collect(self, policy: Callable[..., Any], epsilon: float) -> float:
        """Play the next episode, with random actions at probability ``epsilon``, and return the sum of rewards."""

    def evaluate(self, policy: Callable[..., Any], gamma: float) -> dict[str, float]:
        """Return ``return``, ``discounted_return`` and other metrics of a policy, for a validation."""

    def test(self, policy: Callable[..., Any], gamma: float) -> dict[str, float]:
        """Return the metrics of the trained policy by full name, such as ``test/return``, on other episodes."""


def datamodule_by_name(name: str) -> type[Any]:
    """Return the class of a benchmark: the only public LightningDataModule that its file defines.

    Raises:
        ValueError: If there is no such file, or it does not define exactly one. Abstract classes do not count.
    """
    from lightning.pytorch import LightningDataModule  # takes a second to import

    file = part_file("data.name", name, sys.modules[__name__])
    return part_class(file, f"data.name={name!r}", LightningDataModule)


def make_benchmark(settings: Data, seed: int = 0, trained: Mapping[str, Any] | None = None) -> Any:
    """Return a new LightningDataModule for a benchmark, which is a :class:`Benchmark`.

    Args:
        settings: Settings of the benchmark.
        seed: Seed of the datamodule.
        trained: For predictions, the content of the checkpoint. The class must then have a method ``predictions``,
            and a third argument ``trained``, the datamodule's state in the checkpoint.

    Raises:
        ValueError: If there is no such benchmark, it refuses a setting, or its class lacks an attribute.
    """
    kind = datamodule_by_name(settings.name)
    if trained is None:
        datamodule = kind(settings, seed)
    elif not hasattr(kind, "predictions"):
        raise ValueError(f"data.name={settings.name!r}: has no predictions; series has")
    elif (state := trained.get(kind.__qualname__)) is None:
        raise ValueError(f"ckpt: does not hold the units of {settings.name}; train the network anew")
    else:
        datamodule = kind(settings, seed, state)
    if lacks := _lacking(datamodule):
        raise ValueError(f"data.name={settings.name!r}: {kind.__name__} must have {', '.join(lacks)}")
    return datamodule


def _lacking(datamodule: Any) -> list[str]:
    """Return the attributes of its protocol that a datamodule lacks, without a look at their values."""
    protocol = ControlBenchmark if getattr(datamodule, "task", None) == "control" else Benchmark
    there = {*dir(type(datamodule)), *vars(datamodule)}
    required: list[str] = []
    for base in reversed(protocol.__mro__):
        required += [*inspect.get_annotations(base), *vars(base)]
    return [name for name in required if not name.startswith("_") and name not in there]
