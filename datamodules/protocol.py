"""What a benchmark must offer to train.py, the modules and the callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import chain
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Benchmark(Protocol):
    """A LightningDataModule from which a recurrent network can be built, trained and measured.

    It may also have ``test_lengths``, the lengths of the loaders after the first of ``test_dataloader()``, and
    ``warmup_dataloader(batch_size)``, endless batches for the warmup; otherwise there are no further lengths,
    and the warmup shuffles the training data itself.

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
        test_lengths: Lengths at which the trained policy is tested as well.
    """

    gradient_steps: int
    episodes_played: int
    test_lengths: tuple[int, ...]

    def collect(self, policy: Callable[..., Any], epsilon: float) -> float:
        """Play the next episode, with exploration of probability ``epsilon``, and return the sum of its rewards."""

    def evaluate(
        self, policy: Callable[..., Any], gamma: float, length: int | None = None
    ) -> dict[str, float]:
        """Return the figures of a policy without exploration, ``return``, ``discounted_return``, ``optimal``."""


def missing(datamodule: Any) -> list[str]:
    """Return the names that a datamodule lacks to be a benchmark of its task."""
    control = getattr(datamodule, "task", None) == "control"
    bases = reversed((ControlBenchmark if control else Benchmark).__mro__)
    names = chain.from_iterable((*inspect.get_annotations(base), *vars(base)) for base in bases)
    return [name for name in names if name[0] != "_" and not hasattr(datamodule, name)]
