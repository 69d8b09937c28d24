"""Files of labelled sequences: NumPy's ``.npz``, and ``.ts`` of the UCR and UEA archives."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LabelledSequences:
    """The N sequences of a file, one after another, and their labels.

    Attributes:
        path: The file.
        values: Float64 (sum of lengths, I).
        lengths: Int64 (N,), number of steps of each sequence.
        labels: R rows, one for each sequence or each step: classes, text (R,), or values, float64 (R, O).
        classes: All classes; empty if the labels are values.
        each_step: Whether each step has a label.
        place: Says in words where the label of a row is in the file.
    """

    path: Path
    values: Array
    lengths: Array
    labels: Array
    classes: tuple[str, ...]
    each_step: bool
    place: Callable[[int], str]

    def kind(self) -> str:
        """Describe the labels in words."""
        kind = "classes"
        if not self.classes:
            values = self.labels.shape[1]
            kind = f"{values} values" if values > 1 else "values"
        return f"{kind} for each step" if self.each_step else kind

    def check_like(self, other: LabelledSequences) -> None:
        """Raise a ValueError if another file has other channels or labels, or lacks a class of this one."""
        channels = self.values.shape[1], other.values.shape[1]
        for what, ours, theirs in [("channels", *channels), ("y", self.kind(), other.kind())]:
            if ours != theirs:
                raise ValueError(f"{self.path}: {what}={ours}: must be {theirs} as in {other.path}")
        if other.classes:
            self.class_numbers(other.classes)

    def class_numbers(self, classes: Sequence[str]) -> Array:
        """Return the number of each label among ``classes``, int64 (R,).

        Raises:
            ValueError: If a label is none of them.
        """
        index = {name: number for number, name in enumerate(classes)}
        for row, name in enumerate(self.labels):
            if name not in index:
                place = f"{self.path}, {self.place(row)}"
                raise ValueError(f"{place}: class={name[:20]}: must be one of {', '.join(classes)}")
        return np.array([index[name] for name in self.labels])


def read_sequences(path: str | Path, layout: str | None = None, labelled: bool = True) -> LabelledSequences:
    """Read the sequences of a ``.npz`` or ``.ts`` file.

    A ``.npz`` file holds ``x`` (N, T, I), or ``x`` (sum of lengths, I) with ``lengths`` (N,). Its labels ``y`` have
    one row for each sequence or for each step: (N,) or (N, T); values may also be (N, O), if O is not T, or
    (N, T, O). With ``lengths``, ``y`` has as many rows as there are sequences or steps. Whole numbers and texts are
    classes, floating-point numbers are values. The header of a ``.ts`` file describes its content.

    Args:
        path: The file.
        layout: Order of the axes of ``x``: ``"NTC"`` as above, or ``"NCT"`` with the steps last. None means
            ``"NTC"``, but is refused if there are more channels than steps.
        labelled: Whether to read labels; if not, the file needs none.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If its content is wrong; the message names the place.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".ts"):
        raise ValueError(f"{path}: must be a .npz or a .ts file")
    found = _read_npz(path, layout, labelled) if path.suffix == ".npz" else _read_ts(path, labelled)
    if labelled and len(found.classes) == 1:
        raise ValueError(
            f"{path}: all sequences are of the class {found.classes[0]}: must be two or more classes"
        )
    return found


def _read_npz(path: Path, layout: str | None, labelled: bool) -> LabelledSequences:
    arrays = _load(path, labelled)
    x, lengths = arrays["x"], arrays.get("lengths")
    if x.ndim != (3 if lengths is None else 2) or not x.size:
        raise ValueError(f"{path}: x {x.shape}: must be (N, T, I), or (sum of lengths, I) with lengths")
    x = _laid_out(path, x, lengths, layout)
    if lengths is None:
        lengths = np.full(len(x), x.shape[1])
    elif lengths.ndim != 1 or not _are_lengths(lengths, len(x)):
        raise ValueError(f"{path}: lengths: must be (N,), each at least 1, in sum the {len(x)} steps of x")
    lengths, values = lengths.astype(np.int64), x.reshape(-1, x.shape[-1]).astype(np.float64)
    y = arrays.get("y", np.zeros(len(lengths)))
    each_step = _has_a_row_for_each_step(path, y, x, len(lengths))
    columns = y.shape[1] if each_step and x.ndim == 3 else 1
    valued = y.dtype.kind == "f"
    labels: Array = y.astype(str).flatten()
    if valued:
        labels = y.astype(np.float64).reshape(len(values) if each_step else len(lengths), -1)

    def place(row: int) -> str:
        return f"y[{row // columns}, {row % columns}]" if columns > 1 else f"y[{row}]"

    classes = () if valued else tuple(np.unique(y).astype(str).tolist())
    return LabelledSequences(path, values, lengths, labels, classes, each_step, place)


def _are_lengths(lengths: Array, total: int) -> bool:
    """Return whether numbers of at least 1 have a sum; large ones could overflow in it."""
    return lengths.min(initial=1) >= 1 and lengths.max(initial=1) <= total and lengths.sum() == total


def _laid_out(path: Path, x: Array, lengths: Array | None, layout: str | None) -> Array:
    """Return ``x`` with its channels as the last axis; refuse a layout that is hardly meant."""
    if layout == "NCT":
        return x.swapaxes(-1, -2)
    steps, channels = x.shape[-2:]
    if lengths is not None and steps != lengths.sum() == channels:
        raise ValueError(
            f"{path}: x {x.shape}: has its {channels} steps in the last axis: give data.layout=NCT"
        )
    if layout is None and lengths is None and steps < channels:
        told = f"{steps} steps of {channels} channels: give data.layout=NTC, or NCT for the reverse"
        raise ValueError(f"{path}: x {x.shape}: {told}")
    return x


def _has_a_row_for_each_step(path: Path, y: Array, x: Array, count: int) -> bool:
    """Return whether ``y`` has a row for each step of ``x``, rather than for each of its ``count`` sequences."""
    steps = x.shape[:-1]  # (N, T), or (sum of lengths,)
    values = y.dtype.kind == "f" and y.size > 0  # which may have one axis more
    if y.shape == (count,) or (values and y.ndim == 2 and len(y) == count and y.shape != steps):
        return False
    if y.shape == steps or (values and y.shape[:-1] == steps):
        return True
    allowed = f"({count},), a label for each sequence, or {steps}, for each step"
    raise ValueError(f"{path}: y {y.shape}: must be {allowed}; values may have one axis more")


def _load(path: Path, labelled: bool) -> dict[str, Array]:
    """Return the arrays ``x``, ``y`` and, if there is one, ``lengths`` of a file, after a check of their types."""
    allowed = {
        "x": ("fiub", "numbers"),
        "y": ("fiubU", "numbers or texts"),
        "lengths": ("iu", "whole numbers"),
    }
    if not labelled:
        del allowed["y"]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in allowed if name in archive}
            there = archive.files
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error):
        allowed_parts = "x, y and lengths must be plain numbers or texts, and no lists of arrays"
        raise ValueError(f"{path}: damaged, or no .npz file; {allowed_parts}") from None
    for name, array in arrays.items():
        kinds, words = allowed[name]
        if array.dtype.kind not in kinds:
            raise ValueError(f"{path}: {name} of type {array.dtype}: must be {words}")
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            index = np.argwhere(~finite)[0].tolist()
            raise ValueError(f"{path}: {name}{index}={array[tuple(index)]}: must be a finite number")
    needed = [name for name in allowed if name != "lengths"]
    if not arrays.keys() >= {*needed}:
        found = ", ".join(map(repr, there[:5])) or "no arrays"
        raise ValueError(f"{path}: has {found}: must have {' and '.join(needed)}")
    return arrays


def _read_ts(path: Path, labelled: bool) -> LabelledSequences:
    tags: dict[str, list[str]] = {}
    classes: tuple[str, ...] | None = None  # not known before @data
    sequences: list[Array] = []
    labels: list[str | float] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", errors="replace") as file:  # comments may be in another encoding
        for number, line in enumerate(map(str.strip, file), 1):
            if not line or line.startswith(("#", "%")):
                continue
            try:
                if classes is None:
                    classes = _read_tag(line, tags, labelled)
                    continue
                sequence, label = _read_sequence(line, has_label=labelled or _has_labels(tags))
                labels.append(label if classes else _number(label) if labelled else 0.0)
                if sequences and sequence.shape[1] != (first := sequences[0].shape[1]):
                    raise ValueError(f"channels={sequence.shape[1]}: must be {first} as in line {lines[0]}")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
            sequences.append(sequence)
            lines.append(number)
    if classes is None or not sequences:
        raise ValueError(f"{path}: must have a line @data and sequences after it")
    lengths = np.array([len(sequence) for sequence in sequences])
    rows = np.array(labels) if classes else np.array(labels)[:, None]
    values = np.concatenate(sequences)
    return LabelledSequences(path, values, lengths, rows, classes, False, lambda row: f"line {lines[row]}")


def _read_tag(line: str, tags: dict[str, list[str]], labelled: bool) -> tuple[str, ...] | None:
    """Add a line of the header to its tags; return the classes at its end, empty if the labels are values."""
    name, *words = line.split()
    name = name.lower()
    tags[name] = words = [*map(str.lower, words[:1]), *words[1:]]
    if name == "@timestamps" and words != ["false"]:
        raise ValueError("@timeStamps: must be false, with a value for each step")
    if name != "@data":
        if not name.startswith("@"):
            raise ValueError(f"{line[:20]!r}: must be a tag like @classLabel, and @data before the sequences")
        return None
    if not labelled or tags.get("@targetlabel") == ["true"]:
        return ()
    has, *classes = tags.get("@classlabel") or ["false"]
    if has != "true" or not classes:
        raise ValueError("@data: must follow '@classLabel true' with the classes, or '@targetLabel true'")
    return tuple(dict.fromkeys(classes))


def _has_labels(tags: dict[str, list[str]]) -> bool:
    return any(tags.get(name, [])[:1] == ["true"] for name in ("@classlabel", "@targetlabel"))


def _read_sequence(line: str, has_label: bool) -> tuple[Array, str]:
    """Return a sequence (T, I) float64 and its label, empty if it has none."""
    channels = list(map(str.strip, line.split(":")))
    label = channels.pop() if has_label else ""
    if not channels:
        raise ValueError(f"{line[:20]!r}: must be values, a colon and a label")
    columns = [np.array([_number(word) for word in channel.split(",")]) for channel in channels]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise ValueError(f"channels of {lengths[0]} to {lengths[-1]} values: must be equally many")
    return np.stack(columns, axis=1), label


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"value {word[:20]!r}: must be a finite number; fill in what is missing beforehand")
    return value
