"""Sequences of your own, read from a file: give the class or the value of each at its last step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from configs import data
from datamodules.sequences import Batch, SequenceDataModule, SequenceDataset
from datamodules.series_files import Array, read_sequences
from datamodules.streams import stream


class SeriesDataset(SequenceDataset):
    """Sequences with lengths of their own; a batch is padded with zeros to the longest in it.

    A batch is that of :class:`SequenceDataset` with K = 1; where the sequences of the split are not all equally
    long, steps are ``(B, 1)``, the last step of each.

    Args:
        values: Steps of sequences, one sequence after the other, (S, I) float32.
        starts: Row of ``values`` with which each of the N sequences begins, (N,) int64.
        lengths: Steps of each, (N,) int64.
        targets: As for :class:`SequenceDataset`.
    """

    def __init__(self, values: Tensor, starts: Tensor, lengths: Tensor, targets: Tensor) -> None:
        steps = None if (lengths == lengths[0]).all() else lengths.unsqueeze(1) - 1
        super().__init__(values, targets, int(lengths.max()), steps)
        self.starts, self.lengths = starts, lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, indices: list[int]) -> Batch:
        lengths = self.lengths[indices].unsqueeze(1)
        time = torch.arange(int(lengths.max()))
        padding = time >= lengths
        rows = (self.starts[indices].unsqueeze(1) + time).masked_fill(padding, 0)
        sequences = self.sequences[rows].masked_fill(padding.unsqueeze(2), 0.0)
        return sequences, self.targets[indices], self.steps if self.steps.dim() == 1 else lengths - 1


class Series(SequenceDataModule):
    """Labelled sequences of a file, for classification or regression at their last step.

    :func:`datamodules.series_files.read_sequences` says what a file may hold. The seed draws the validation split;
    the test sequences are the same for every seed. Each channel, and the values of a regression, are normalised to
    mean 0 and variance 1 of the training split; the loss is that of the normalised values.

    A batch: sequences (B, T, I), targets (B, 1) classes or (B, 1, 1) values, steps as in :class:`SeriesDataset`.

    Args:
        settings: Settings of the benchmark.
        seed: As for :class:`SequenceDataModule`.

    Raises:
        ValueError: If a file cannot be read, something is wrong in it, or it holds too few sequences.
    """

    def __init__(self, settings: data.Series, seed: int = 0) -> None:
        root, test_root = settings.root, settings.test_root
        for name, path in {"root": root, "test_root": test_root}.items():
            if path is not None and not Path(path).is_file():
                raise ValueError(f"{name}={path!r}: must be a .npz or a .ts file, and there is no such file")
        files = [read_sequences(path) for path in (root, test_root) if path is not None]
        targets = [file.targets(files[0]) for file in files]
        counts = [len(file.lengths) for file in files]
        self.rows = _draw_rows(counts, {"val": settings.val_fraction, "test": settings.test_fraction}, seed)
        if not len(self.rows["train"]):
            sizes = ", ".join(f"{len(rows)} for the {name} split" for name, rows in self.rows.items())
            raise ValueError(f"{root}: {counts[0]} sequences are too few: {sizes}")
        super().__init__(settings, {name: len(rows) for name, rows in self.rows.items()}, seed)

        learnt = np.isin(np.arange(counts[0]), self.rows["train"])
        steps = files[0].values[np.repeat(learnt, files[0].lengths)]
        self.input_size, self.output_size = steps.shape[1], len(files[0].classes) or 1
        self.values = [_normalised(file.values, steps) for file in files]
        self.lengths = [torch.from_numpy(file.lengths) for file in files]
        if files[0].classes:
            self.task = "classification"
            self.targets = [torch.from_numpy(classes).unsqueeze(1) for classes in targets]
        else:
            self.task = "regression"
            self.targets = [_normalised(values, targets[0][learnt])[:, None, None] for values in targets]

    def make_split(self, name: str) -> SeriesDataset:
        file, rows = -1 if name == "test" else 0, self.rows[name]
        lengths = self.lengths[file]
        starts = lengths.cumsum(0) - lengths
        return SeriesDataset(self.values[file], starts[rows], lengths[rows], self.targets[file][rows])


def _draw_rows(counts: list[int], parts: dict[str, float], seed: int) -> dict[str, Tensor]:
    """Return the indices of the sequences of each split: the test's are in the second file, if there are two."""
    first, last = (torch.arange(count) for count in (counts[0], counts[-1]))
    num_val, num_test = (max(1, round(parts[name] * counts[0])) for name in ("val", "test"))
    test = last[torch.randperm(len(last), generator=stream(0, "series", "test"))]
    if len(counts) == 1:
        test, first = test[:num_test], test[num_test:]
    first = first[torch.randperm(len(first), generator=stream(seed, "series", "val"))]
    return {"train": first[num_val:], "val": first[:num_val], "test": test}


def _normalised(values: Array, training: Array) -> Tensor:
    """Return ``values`` float32, moved and scaled as ``training`` gets mean 0 and variance 1 along its first axis.

    What is constant in ``training`` is only moved.
    """
    scale = np.where(training.max(0) > training.min(0), training.std(0), 1.0)
    return torch.from_numpy((values - training.mean(0)) / scale).float()
