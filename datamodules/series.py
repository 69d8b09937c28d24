"""Your own sequences, read from a file: predict the class or values of each at its last step, or at every step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from configs import data
from datamodules.loader import BatchOrder, ResumableLoader
from datamodules.sequences import Batch, SequenceDataModule, SequenceDataset
from datamodules.series_files import LabelledSequences, read_sequences
from datamodules.series_units import Units
from datamodules.streams import stream


class SeriesDataset(SequenceDataset):
    """Sequences of different lengths; a batch is padded with zeros to the longest in it.

    A batch is that of :class:`SequenceDataset`. Outputs are read at the last step of each sequence if K = 1, and
    otherwise at every step. Steps are ``(B, K)`` if the sequences of the split differ in length.

    Args:
        values: Steps of all sequences, one sequence after another, (S, I) float32.
        starts: Row of ``values`` at which each of the N sequences begins, (N,) int64.
        lengths: Number of steps of each sequence, (N,) int64.
        targets: As for :class:`SequenceDataset`; K is 1 or the greatest length.
    """

    def __init__(self, values: Tensor, starts: Tensor, lengths: Tensor, targets: Tensor) -> None:
        steps, ends = None, lengths.unsqueeze(1)
        if (lengths < lengths.max()).any():
            each = torch.arange(targets.shape[1])
            steps = ends - 1 if len(each) == 1 else each.where(each < ends, -1)
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
        steps = self.steps if self.steps.dim() == 1 else self.steps[indices, : len(time)]
        return sequences, self.targets[indices, : len(time)], steps


class Series(SequenceDataModule):
    """Labelled sequences of a file, for classification or regression at their last step or at every step.

    :func:`datamodules.series_files.read_sequences` says what a file may hold. The seed draws the validation split;
    the test sequences are the same for every seed. Each channel, and each target of a regression, is normalised to
    mean 0 and variance 1 on the training split; the loss is that of the normalised values. A checkpoint holds these
    units and the names of the classes.

    A batch: sequences (B, T, I), targets (B, K) classes or (B, K, O) values, steps as in :class:`SeriesDataset`.

    Args:
        settings: Settings of the benchmark.
        seed: As for :class:`SequenceDataModule`.
        trained: The :meth:`state_dict` from a training. All sequences of ``root`` are then for predictions, and
            need no labels.

    Raises:
        ValueError: If a file cannot be read, something is wrong in it, or it holds too few sequences.
    """

    def __init__(self, settings: data.Series, seed: int = 0, trained: dict[str, Any] | None = None) -> None:
        self.labelled = trained is None
        self.files = _read(settings, self.labelled)
        counts = [len(file.lengths) for file in self.files]
        if trained is None:
            parts = {"val": settings.val_fraction, "test": settings.test_fraction}
            self.rows = _draw_rows(counts, parts, seed)
            if not len(self.rows["train"]):
                sizes = ", ".join(f"{len(rows)} for the {name} split" for name, rows in self.rows.items())
                raise ValueError(f"{settings.root}: {counts[0]} sequences are too few: {sizes}")
            self.units = Units.of(self.files[0], self.rows["train"])
        else:
            self.rows, self.units = {"predict": torch.arange(counts[0])}, Units.from_state(trained)
        super().__init__(settings, {name: len(rows) for name, rows in self.rows.items()}, seed)
        self.task = "classification" if self.units.classes else "regression"
        self.input_size = len(self.units.mean)
        self.output_size = len(self.units.classes or self.units.target_mean)
        self._measure()

    def make_split(self, name: str) -> SeriesDataset:
        number, rows = -1 if name == "test" else 0, self.rows[name]
        lengths, targets = torch.from_numpy(self.files[number].lengths), self._targets[number]
        if self.units.each_step:
            parts = targets.split(lengths.tolist())
            targets = pad_sequence([parts[row] for row in rows.tolist()], batch_first=True)
        else:
            targets = targets[rows].unsqueeze(1)
        starts = lengths.cumsum(0) - lengths
        return SeriesDataset(self._values[number], starts[rows], lengths[rows], targets)

    def state_dict(self) -> dict[str, Any]:
        """Return the units of the training split and the names of the classes."""
        return self.units.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the units of another training split; later batches are in these units."""
        self.units = Units.from_state(state_dict)
        self._measure()

    def predict_dataloader(self) -> ResumableLoader:
        """Return all new sequences in order; every process reads all of them."""
        dataset = self.split("predict")
        return ResumableLoader(dataset, BatchOrder(dataset, self.batch_size, shuffle=False))

    def predictions(self, outputs: Iterable[Tensor]) -> list[dict[str, Any]]:
        """Return a network's predictions for the sequences, in the units of the file.

        Args:
            outputs: Outputs (B, K, O) of the network for each batch of :meth:`predict_dataloader`.

        Returns:
            A row for each sequence, or for each step of it: ``sequence`` and ``step``, from 0, and ``class``, or
            ``value``; several values are ``value_1``, ``value_2``, ...
        """
        columns = ["class"] if self.units.classes else ["value"]
        if not self.units.classes and self.output_size > 1:
            columns = [f"value_{number}" for number in range(1, self.output_size + 1)]
        rows = []
        found = (sequence for batch in outputs for sequence in batch)
        for number, (sequence, length) in enumerate(zip(found, self.files[0].lengths, strict=True)):
            for step, values in enumerate(self.units.original(sequence[:length]).reshape(-1, len(columns))):
                place = {"sequence": number} | ({"step": step} if self.units.each_step else {})
                rows.append(place | dict(zip(columns, values.tolist(), strict=True)))
        return rows

    def _measure(self) -> None:
        """Convert the sequences and targets of all files into the units."""
        self._splits.clear()
        self._values = [self.units.inputs(file) for file in self.files]
        self._targets = [self.units.targets(file, self.labelled) for file in self.files]


def _read(settings: data.Series, labelled: bool) -> list[LabelledSequences]:
    """Read the file for training and, if there is one, that for the test; without labels only the first."""
    paths = {"root": settings.root, "test_root": settings.test_root if labelled else None}
    for name, path in paths.items():
        if path is not None and not Path(path).is_file():
            raise ValueError(f"data.{name}={path!r}: must be a .npz or a .ts file, and there is no such file")
    files = [read_sequences(path, settings.layout, labelled) for path in paths.values() if path is not None]
    for file in files if labelled else ():
        file.check_like(files[0])
    return files


def _draw_rows(counts: list[int], parts: dict[str, float], seed: int) -> dict[str, Tensor]:
    """Draw the indices of the sequences of each split; if there are two files, the test split is the second."""
    first, last = (torch.arange(count) for count in (counts[0], counts[-1]))
    num_val, num_test = (max(1, round(parts[name] * counts[0])) for name in ("val", "test"))
    test = last[torch.randperm(len(last), generator=stream(0, "series", "test"))]
    if len(counts) == 1:
        test, first = test[:num_test], test[num_test:]
    first = first[torch.randperm(len(first), generator=stream(seed, "series", "val"))]
    return {"train": first[num_val:], "val": first[:num_val], "test": test}
