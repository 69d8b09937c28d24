"""A study: a YAML file that stands for many runs.

Its fields, of which only `grid` is needed; a setting is written as in an overlay, or with its dotted key::

    overlays: [../configs/denoising.yaml]          # paths from the study's own folder
    settings: {model: {hidden_size: 64}}   # of every run
    grid:                                  # every combination of these
      model.cell: [gru, lstm]              # values of a setting, or
      variant:                             # alternatives, each of some settings, under names of their own
        plain: {warmup.enabled: false}
        warm: {warmup.enabled: true, warmup.steps: 200}
    include:                               # further grids, on top of the same settings
      - {model.cell: lstm, model.init: [chrono, forget_bias], warmup.enabled: false}
    seeds: [0, 1, 2]                       # each combination with each of these
    slurm: {timeout_min: 60}               # parameters of submitit's AutoExecutor
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from configs.compose import ConfigError

FIELDS = ("overlays", "settings", "grid", "include", "seeds", "slurm")


class Run(NamedTuple):
    """One run of a study: its name, and its arguments without `run_dir` and `ckpt`."""

    name: str
    arguments: list[str]


@dataclass(frozen=True)
class Axis:
    """One axis of a grid."""

    key: str
    """Key of a setting, or the name of an axis of alternatives."""
    choices: dict[str, list[str]]
    """Arguments of each choice by its label, which is its part of a run's name."""
    plain: bool
    """Whether the choices are values of the setting."""


@dataclass(frozen=True)
class Grid:
    """Every combination of the choices of some axes, on top of some arguments."""

    arguments: list[str]
    axes: list[Axis]


@dataclass(frozen=True)
class Study:
    """What a study file says, with the arguments of the command."""

    name: str
    arguments: list[str]
    """Arguments of every run that come before those of the grids."""
    grids: list[Grid]
    """The grids; the seeds are their last axis."""
    last: list[str]
    """Arguments of every run that come last."""
    slurm: dict[str, Any]
    """Parameters of submitit's executor."""

    def runs(self) -> Iterator[Run]:
        """Return every combination of every grid."""
        for grid in self.grids:
            for labels in product(*(axis.choices for axis in grid.axes)):
                chosen = [
                    a for axis, label in zip(grid.axes, labels, strict=True) for a in axis.choices[label]
                ]
                yield Run(
                    "-".join(labels) or self.name, [*self.arguments, *grid.arguments, *chosen, *self.last]
                )


def read_study(path: Path, settings: Sequence[str] = ()) -> Study:
    """Read a study file.

    Args:
        path: The file.
        settings: ``key=value`` arguments: those for an axis of a grid, as ``model.cell=[gru,lstm]``, pick from
            it, and leave grids without it out; others hold for every run and win over the file.

    Raises:
        ConfigError: If the file can't be read or is none of a study, or nothing is left to run.
    """
    content = _load(path)
    seeds = {"seed": content["seeds"]} if content["seeds"] else {}
    grids = [_grid(path, grid, seeds) for grid in [content["grid"], *content["include"]]]
    last = []
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: must be key=value")
        if any(axis.key == key for grid in grids for axis in grid.axes):
            grids = _pick(grids, key, value)
        else:
            last.append(text)
    overlays = [str(path.parent / overlay) for overlay in content["overlays"]]
    # BaseLoader leaves scalars as text, which an argument is; submitit wants numbers.
    slurm = {key: yaml.safe_load(value) for key, value in content["slurm"].items()}
    arguments = [f"tracking.group={path.stem}", *overlays, *as_arguments(content["settings"])]
    return Study(path.stem, arguments, grids, last, slurm)


def _load(path: Path) -> dict[str, Any]:
    """Return the fields of a study file, all of them, each of the right type."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except OSError as error:
        raise ConfigError(f"{str(path)!r}: can't be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{str(path)!r}: not well-formed YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not set(content) <= set(FIELDS) or "grid" not in content:
        raise ConfigError(f"{str(path)!r}: must hold grid, and may hold of the other {', '.join(FIELDS)}")
    fields: dict[str, Any] = {}
    for field in FIELDS:
        kind = list if field in ("overlays", "include", "seeds") else dict
        fields[field] = content.get(field, kind())
        if not isinstance(fields[field], kind):
            raise ConfigError(f"{str(path)!r}: {field} must be a {'list' if kind is list else 'mapping'}")
    return fields


def _grid(path: Path, content: Any, seeds: dict[str, Any]) -> Grid:
    """Return a grid; single values in it are settings."""
    if not isinstance(content, dict):
        raise ConfigError(f"{str(path)!r}: include must be a list of mappings, as grid is one")
    axes = {key: choices for key, choices in content.items() if not isinstance(choices, str)} | seeds
    settings = {key: value for key, value in content.items() if isinstance(value, str)}
    return Grid(as_arguments(settings), [_axis(path, key, choices) for key, choices in axes.items()])


def _axis(path: Path, key: str, choices: Any) -> Axis:
    if not choices:
        raise ConfigError(f"{str(path)!r}: {key} is empty")
    if isinstance(choices, list):
        return Axis(key, {_label(key, _text(value)): [f"{key}={_text(value)}"] for value in choices}, True)
    if not all(isinstance(settings, dict) or settings == "" for settings in choices.values()):
        raise ConfigError(f"{str(path)!r}: {key} must name alternatives, each a mapping of settings")
    return Axis(key, {label: as_arguments(settings or {}) for label, settings in choices.items()}, False)


def _pick(grids: Sequence[Grid], key: str, value: str) -> list[Grid]:
    """Return the grids that have an axis, with only those of its choices that are named, by label or value."""
    given = yaml.load(value, yaml.BaseLoader)
    texts = [_text(item) for item in (given if isinstance(given, list) else [given])]
    names = {*texts, *(f"{key}={text}" for text in texts)}
    picked: list[Grid] = []
    known: dict[str, None] = {}
    for grid in grids:
        axes = []
        for axis in grid.axes:
            if axis.key == key:
                known |= dict.fromkeys(axis.choices)
                left = {label: args for label, args in axis.choices.items() if {label, *args} & names}
                axis = replace(axis, choices=left)
            axes.append(axis)
        if any(axis.key == key for axis in axes) and all(axis.choices for axis in axes):
            picked.append(Grid(grid.arguments, axes))
    if not picked:
        raise ConfigError(f"{key}={value}: the study has only {', '.join(known)}")
    return picked


def as_arguments(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """Return settings, nested or not, as ``key=value`` arguments."""
    arguments = []
    for key, value in settings.items():
        if isinstance(value, dict):
            arguments += as_arguments(value, f"{prefix}{key}.")
        else:
            arguments.append(f"{prefix}{key}={_text(value)}")
    return arguments


def _text(value: Any) -> str:
    return f"[{','.join(map(_text, value))}]" if isinstance(value, list) else str(value)


def _label(key: str, value: str) -> str:
    """Return the part of a run's name that tells a value: with its key, unless it speaks for itself."""
    named = value if re.match(r"(?!(true|false|null)$)[A-Za-z]", value) else f"{key.split('.')[-1]}_{value}"
    return re.sub(r"[^\w.]+", "_", named).strip("_")
