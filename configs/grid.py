"""A study: a YAML file that stands for many runs.

Its fields, of which only `grid` is needed; a setting is written as in an overlay, or with its dotted key::

    overlays: [../denoising.yaml]          # paths from the study's own folder
    settings: {model: {hidden_size: 64}}   # of every run
    grid:                                  # every combination of these
      model.cell: [gru, lstm]              # the values of a setting, or
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
    """One axis of a grid.

    Attributes:
        key: Key of a setting, or the name of the axis if it is one of alternatives.
        choices: Arguments of each choice by its label, which is its part of a run's name, empty if there is no
            choice.
        plain: Whether the choices are values of the setting ``key``.
    """

    key: str
    choices: dict[str, list[str]]
    plain: bool

    def pick(self, values: Sequence[str]) -> Axis:
        """The axis with only those choices that are named, by their label or their value."""
        names = {*values, *(f"{self.key}={value}" for value in values)}
        choices = {label: args for label, args in self.choices.items() if {label, *args} & names}
        return replace(self, choices=choices)


@dataclass(frozen=True)
class Study:
    """What a study file says, with the arguments of the command.

    Attributes:
        name: That of its file.
        arguments: Arguments of every run that come before those of the grids.
        grids: Axes of every grid, the seeds last.
        last: Arguments of every run that come last.
        slurm: Parameters of submitit's executor.
    """

    name: str
    arguments: list[str]
    grids: list[list[Axis]]
    last: list[str]
    slurm: dict[str, Any]

    def runs(self) -> Iterator[Run]:
        """Every combination of every grid."""
        for axes in self.grids:
            for labels in product(*(axis.choices for axis in axes)):
                chosen = [
                    arg for axis, label in zip(axes, labels, strict=True) for arg in axis.choices[label]
                ]
                yield Run("-".join(filter(None, labels)), [*self.arguments, *chosen, *self.last])


def read_study(path: Path, settings: Sequence[str] = ()) -> Study:
    """Reads a study file.

    Args:
        path: The file.
        settings: ``key=value`` arguments: those for an axis of a grid, as ``model.cell=[gru,lstm]``, pick from
            it, and leave grids without it out; others hold for every run and win over the file.

    Raises:
        ConfigError: If the file can't be read or is none of a study, or nothing is left to run.
    """
    content = _load(path)
    grids = [_axes(path, grid) for grid in [content["grid"], *content["include"]]]
    if content["seeds"]:
        grids = [[*axes, _axis(path, "seed", content["seeds"])] for axes in grids]
    last = []
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: must be key=value")
        if any(axis.key == key for axes in grids for axis in axes):
            grids = _pick(grids, key, value)
        else:
            last.append(text)
    overlays = [str(path.parent / overlay) for overlay in content["overlays"]]
    # BaseLoader leaves scalars as text, which an argument is; submitit wants numbers.
    slurm = {key: yaml.safe_load(value) for key, value in content["slurm"].items()}
    arguments = [f"tracking.group={path.stem}", *overlays, *_arguments(content["settings"])]
    return Study(path.stem, arguments, grids, last, slurm)


def _load(path: Path) -> dict[str, Any]:
    """The fields of a study file, all of them, each of the right type."""
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


def _axes(path: Path, grid: Any) -> list[Axis]:
    if not isinstance(grid, dict):
        raise ConfigError(f"{str(path)!r}: include must be a list of mappings, as grid is one")
    return [_axis(path, key, choices) for key, choices in grid.items()]


def _axis(path: Path, key: str, choices: Any) -> Axis:
    if isinstance(choices, dict):
        if not all(isinstance(settings, dict) or settings == "" for settings in choices.values()):
            raise ConfigError(f"{str(path)!r}: {key} must name alternatives, each a mapping of settings")
        return Axis(key, {label: _arguments(settings or {}) for label, settings in choices.items()}, False)
    if not isinstance(choices, list):
        return Axis(key, {"": [f"{key}={choices}"]}, True)
    return Axis(key, {_label(key, _text(value)): [f"{key}={_text(value)}"] for value in choices}, True)


def _pick(grids: list[list[Axis]], key: str, value: str) -> list[list[Axis]]:
    """The grids that have an axis, with the picked choices of it alone."""
    given = yaml.load(value, yaml.BaseLoader)
    values = [_text(item) for item in (given if isinstance(given, list) else [given])]
    choices = [label for axes in grids for axis in axes if axis.key == key for label in axis.choices if label]
    picked = [[axis.pick(values) if axis.key == key else axis for axis in axes] for axes in grids]
    left = [axes for axes in picked if any(axis.key == key and axis.choices for axis in axes)]
    if not left:
        raise ConfigError(f"{key}={value}: the study has only {', '.join(dict.fromkeys(choices))}")
    return left


def _arguments(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings, nested or not, as arguments."""
    arguments = []
    for key, value in settings.items():
        if isinstance(value, dict):
            arguments += _arguments(value, f"{prefix}{key}.")
        else:
            arguments.append(f"{prefix}{key}={_text(value)}")
    return arguments


def _text(value: Any) -> str:
    return f"[{','.join(map(_text, value))}]" if isinstance(value, list) else str(value)


def _label(key: str, value: str) -> str:
    """The part of a run's name that tells a value: with its key, unless it speaks for itself."""
    named = value if re.match(r"(?!(true|false|null)$)[A-Za-z]", value) else f"{key.split('.')[-1]}_{value}"
    return re.sub(r"[^\w.]+", "_", named).strip("_")
