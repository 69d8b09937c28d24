"""Units: they convert the numbers and classes of a file for a network, and the network's outputs back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.series_files import Array, LabelledSequences


@dataclass(frozen=True)
class Units:
    """Mean and standard deviation over the training split, and the names of the classes.

    Attributes:
        mean, scale: Of each channel, (I,) float64; the scale of a constant channel is 1.
        target_mean, target_scale: Of each target value, (O,) float64; (0,) for classes.
        classes: Names of the classes in the order of their numbers; empty if the targets are values.
        each_step: Whether there is a target for each step.
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    classes: tuple[str, ...]
    each_step: bool

    @classmethod
    def of(cls, file: LabelledSequences, rows: Tensor) -> Units:
        """Return the units of the sequences ``rows`` of a file, its training split."""
        learnt = np.isin(np.arange(len(file.lengths)), rows)
        steps = np.repeat(learnt, file.lengths)
        targets = np.empty((1, 0)) if file.classes else file.labels[steps if file.each_step else learnt]
        return cls(*_moments(file.values[steps]), *_moments(targets), file.classes, file.each_step)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Units:
        """Return the units of a :meth:`state`."""
        return cls(**state | {"classes": tuple(state["classes"])})

    def state(self) -> dict[str, Any]:
        """Return tensors and plain values, as a checkpoint holds them."""
        return vars(self) | {"classes": list(self.classes)}

    def inputs(self, file: LabelledSequences) -> Tensor:
        """Return the steps of a file as a network reads them, (sum of lengths, I) float32.

        Raises:
            ValueError: If the file has other channels.
        """
        if (found := file.values.shape[1]) != len(self.mean):
            raise ValueError(f"{file.path}: channels={found}: must be {len(self.mean)} as in training")
        return _normalised(file.values, self.mean, self.scale)

    def targets(self, file: LabelledSequences, labelled: bool = True) -> Tensor:
        """Return the targets of a file, a row for each label: class numbers (R,) or values float32 (R, O).

        They are zeros if the file is not labelled.

        Raises:
            ValueError: If the file has other classes.
        """
        if not labelled:
            count = len(file.values if self.each_step else file.lengths)
            return torch.zeros(count).long() if self.classes else torch.zeros(count, len(self.target_mean))
        if self.classes:
            return torch.from_numpy(file.class_numbers(self.classes))
        return _normalised(file.labels, self.target_mean, self.target_scale)

    def original(self, outputs: Tensor) -> Array:
        """Return outputs (..., O) of a network as class names (...), or as values (..., O) in the file's units."""
        if self.classes:
            return np.array(self.classes)[outputs.argmax(-1).numpy()]
        return (outputs.double() * self.target_scale + self.target_mean).numpy()


def _moments(values: Array) -> tuple[Tensor, Tensor]:
    scale = np.where(values.max(0) > values.min(0), values.std(0), 1.0)
    return torch.from_numpy(values.mean(0)), torch.from_numpy(scale)


def _normalised(values: Array, mean: Tensor, scale: Tensor) -> Tensor:
    return torch.from_numpy((values - mean.numpy()) / scale.numpy()).float()
