"""Files of labelled sequences: NumPy's ``.npz``, and ``.ts`` of the UCR and UEA archives."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LabelledSequences:
    """The N sequences of a file, one after the other, and what is to be learnt of each.

    Attributes:
        path: The file.
        values: Float64 (sum of lengths, I).
        lengths: Int64 (N,), steps of each sequence.
        labels: Text (N,), the class of each sequence, or float64 (N,), a value.
        classes: The classes there are; none if the labels are values.
        place: Function from the index of a sequence to where its label is in the file.
    """

    path: Path
    values: Array
    lengths: Array
    labels: Array
    classes: tuple[str, ...]
    place: Callable[[int], str]

    def targets(self, like: LabelledSequences) -> Array:
        """Return the values (N,) float64, or the number of each class among those of ``like``, (N,) int64.

        Raises:
            ValueError: If ``like``, which may be this file or another one, has other channels, classes or values.
        """
        for what, ours, theirs in [
            ("channels", self.values.shape[1], like.values.shape[1]),
            ("y", *("classes" if file.classes else "values" for file in (self, like))),
        ]:
            if ours != theirs:
                raise ValueError(f"{self.path}: {what}={ours}: must be {theirs} as in {like.path}")
        if not like.classes:
            return self.labels
        index = {name: number for number, name in enumerate(like.classes)}
        for sequence, name in enumerate(self.labels):
            if name not in index:
                allowed = ", ".join(like.classes)
                place = f"{self.path}, {self.place(sequence)}"
                raise ValueError(f"{place}: class={name[:20]}: must be one of {allowed}")
        return np.array([index[name] for name in self.labels])


def read_sequences(path: str | Path) -> LabelledSequences:
    """Return the sequences of a file; its ending says what it is.

    A ``.npz`` file holds ``x`` (N, T, I), or ``x`` (sum of lengths, I) and ``lengths`` (N,), and ``y`` (N,): whole
    numbers and texts are classes, floating-point numbers are values. A ``.ts`` file says in its header what it has.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If something is wrong in it; the message names the place.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".ts": _read_ts}
    if path.suffix not in readers:
        raise ValueError(f"{path}: must be a .npz or a .ts file")
    found = readers[path.suffix](path)
    if len(found.classes) == 1:
        raise ValueError(
            f"{path}: all sequences are of the class {found.classes[0]}: must be two or more classes"
        )
    return found


def _read_npz(path: Path) -> LabelledSequences:
    arrays = _load(path)
    x, y, lengths = arrays["x"], arrays["y"], arrays.get("lengths")
    if x.ndim != (3 if lengths is None else 2) or not x.size:
        raise ValueError(f"{path}: x {x.shape}: must be (N, T, I), or (sum of lengths, I) with lengths")
    if lengths is None:
        lengths = np.full(len(x), x.shape[1])
    elif lengths.ndim != 1 or lengths.min(initial=1) < 1 or lengths.sum() != len(x):
        raise ValueError(f"{path}: lengths: must be (N,), each at least 1, in sum the {len(x)} steps of x")
    if y.shape != lengths.shape:
        raise ValueError(f"{path}: y {y.shape}: must be ({len(lengths)},), one for each sequence")
    valued = y.dtype.kind == "f"
    labels, classes = y.astype(np.float64 if valued else str), () if valued else np.unique(y).astype(str)
    values = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return LabelledSequences(path, values, lengths.astype(np.int64), labels, tuple(classes), "y[{}]".format)


def _load(path: Path) -> dict[str, Array]:
    """Return the arrays ``x``, ``y`` and, if there is one, ``lengths`` of a file, whose types are those allowed."""
    allowed = {
        "x": ("fiub", "numbers"),
        "y": ("fiubU", "numbers or texts"),
        "lengths": ("iu", "whole numbers"),
    }
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
    for name in ("x", "y"):
        if name not in arrays:
            raise ValueError(
                f"{path}: has {', '.join(map(repr, there[:5])) or 'no arrays'}: must have x and y"
            )
    return arrays


def _read_ts(path: Path) -> LabelledSequences:
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
                    classes = _read_tag(line, tags)
                    continue
                sequence, label = _read_sequence(line, valued=not classes)
                if sequences and sequence.shape[1] != (first := sequences[0].shape[1]):
                    raise ValueError(f"channels={sequence.shape[1]}: must be {first} as in line {lines[0]}")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
            sequences.append(sequence)
            labels.append(label)
            lines.append(number)
    if classes is None or not sequences:
        raise ValueError(f"{path}: must have a line @data and sequences after it")
    lengths = np.array([len(sequence) for sequence in sequences])
    return LabelledSequences(
        path,
        np.concatenate(sequences),
        lengths,
        np.array(labels),
        classes,
        lambda sequence: f"line {lines[sequence]}",
    )


def _read_tag(line: str, tags: dict[str, list[str]]) -> tuple[str, ...] | None:
    """Add a line of the header to its tags; at its end, return the classes, none if labels are values."""
    name, *words = line.split()
    name = name.lower()
    tags[name] = words = [*map(str.lower, words[:1]), *words[1:]]
    if name == "@timestamps" and words != ["false"]:
        raise ValueError("@timeStamps: must be false, with a value for each step")
    if name != "@data":
        if not name.startswith("@"):
            raise ValueError(f"{line[:20]!r}: must be a tag like @classLabel, and @data before the sequences")
        return None
    if tags.get("@targetlabel") == ["true"]:
        return ()
    has, *classes = tags.get("@classlabel") or ["false"]
    if has != "true" or not classes:
        raise ValueError("@data: must follow '@classLabel true' with the classes, or '@targetLabel true'")
    return tuple(dict.fromkeys(classes))


def _read_sequence(line: str, valued: bool) -> tuple[Array, str | float]:
    """Return a sequence (T, I) float64 and its label, a number if it is ``valued``."""
    *channels, label = map(str.strip, line.split(":"))
    if not channels:
        raise ValueError(f"{line[:20]!r}: must be values, a colon and a label")
    columns = [np.array([_number(word) for word in channel.split(",")]) for channel in channels]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise ValueError(f"channels of {lengths[0]} to {lengths[-1]} values: must be equally many")
    return np.stack(columns, axis=1), _number(label) if valued else label


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"value {word[:20]!r}: must be a finite number; fill in what is missing beforehand")
    return value
