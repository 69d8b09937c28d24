"""A study: a YAML file that stands for many runs.

These are its fields; only `grid` is needed. Settings are written as in an overlay, or with dotted keys::

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

import json
import re
from collections.abc import Iterator, Sequence, Set
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from configs.run import mappings
from configs.values import ConfigError

FIELDS = {"overlays": list, "settings": dict, "grid": dict, "include": list, "seeds": list, "slurm": dict}


class _Quoted(str):
    """A text that was in quotes."""


class Run(NamedTuple):
    """One run of a study: its name, and its arguments without `run_dir` and `ckpt`."""

    name: str
    arguments: list[str]


class Axis(NamedTuple):
    """An axis of a grid: the arguments of each choice by its label, which is a part of the run's name."""

    key: str
    choices: dict[str, list[str]]
    plain: bool = False  # whether the key is a setting and the choices are its values


class Study(NamedTuple):
    """A study file, with the arguments of the command: its name, its grids, and submitit's parameters."""

    name: str
    grids: list[list[Axis]]
    slurm: dict[str, Any]

    def runs(self) -> Iterator[Run]:
        """Yield every combination of every grid."""
        for grid in self.grids:
            for chosen in product(*(axis.choices.items() for axis in grid)):
                name = "-".join(label for label, _ in chosen if label)
                yield Run(name or self.name, [argument for _, arguments in chosen for argument in arguments])


def read_study(path: Path, settings: Sequence[str] = ()) -> Study:
    """Read a study file.

    Args:
        path: The file.
        settings: ``key=value`` arguments. One for an axis of a grid, such as ``model.cell=[gru,lstm]``, picks from
            that axis and leaves out grids without it. Others hold for every run and override the file.

    Raises:
        ConfigError: If the file can't be read or is not a study, or nothing is left to run.
    """
    fields = _load(path)
    seeds = {"seed": fields["seeds"]} if fields["seeds"] else {}
    grids = [_grid(path, grid, seeds) for grid in [fields["grid"], *fields["include"]]]
    last = []
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: must be key=value")
        if any(axis.key == key for grid in grids for axis in grid):
            grids = _pick(grids, key, value)
        else:
            last.append(text)
    overlays = [str(path.parent / overlay) for overlay in fields["overlays"]]
    first = [f"tracking.group={path.stem}", *overlays, *as_arguments(fields["settings"])]
    return Study(path.stem, [[_fixed(first), *grid, _fixed(last)] for grid in grids], fields["slurm"])


def _load(path: Path) -> dict[str, Any]:
    """Return all fields of a study file, after a check of their types."""
    try:
        text = path.read_text(encoding="utf-8")
        content = parse(text)
    except OSError as error:
        raise ConfigError(f"{str(path)!r}: can't be read: {error.strerror}") from None
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{str(path)!r}: {error}") from None
    if not isinstance(content, dict) or not content.keys() <= FIELDS.keys() or "grid" not in content:
        raise ConfigError(f"{str(path)!r}: must have grid, and of other fields only {', '.join(FIELDS)}")
    fields = {field: content.get(field, kind()) for field, kind in FIELDS.items()}
    for field, kind in FIELDS.items():
        if not isinstance(fields[field], kind):
            raise ConfigError(f"{str(path)!r}: {field} must be a {'list' if kind is list else 'mapping'}")
    if not all(isinstance(overlay, str) for overlay in fields["overlays"]):
        raise ConfigError(f"{str(path)!r}: overlays must be paths")
    if fields["slurm"]:  # all other scalars are text, as arguments are; submitit needs numbers
        fields["slurm"] = yaml.safe_load(text)["slurm"]
    return fields


def parse(text: str) -> Any:
    """Return the lists, mappings and texts of a YAML document."""
    try:
        return _plain(yaml.compose(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader)))
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"not well-formed YAML: {' '.join(str(error).split())}") from None


def _plain(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        return _Quoted(node.value) if node.style in ("'", '"') else node.value
    names = [_plain(name) for name, _ in node.value]
    for name in names:
        if not isinstance(name, str) or names.count(name) > 1:
            raise ConfigError(
                f"{name!r}: must be a text that is given once (line {node.start_mark.line + 1})"
            )
    return {name: _plain(value) for name, (_, value) in zip(names, node.value, strict=True)}


def _fixed(arguments: list[str]) -> Axis:
    """Return arguments without a choice as an axis, which no run's name mentions."""
    return Axis("", {"": arguments})


def _grid(path: Path, content: Any, seeds: dict[str, Any]) -> list[Axis]:
    """Return the axes of a grid; a single value in it is a setting of all its runs."""
    if not isinstance(content, dict):
        raise ConfigError(f"{str(path)!r}: include must be a list of grids, each a mapping")
    fixed = as_arguments({key: value for key, value in content.items() if isinstance(value, str)})
    if seeds.keys() & content.keys():
        raise ConfigError(f"{str(path)!r}: give seeds or a seed in grid, not both")
    axes = {key: choices for key, choices in content.items() if not isinstance(choices, str)} | seeds
    return [_fixed(fixed), *(_axis(path, key, choices) for key, choices in axes.items())]


def _axis(path: Path, key: str, choices: Any) -> Axis:
    if not choices:
        raise ConfigError(f"{str(path)!r}: {key} is empty")
    if isinstance(choices, list):
        return Axis(key, {_label(key, text): [f"{key}={text}"] for text in map(_text, choices)}, plain=True)
    if not all(isinstance(settings, dict) or settings == "" for settings in choices.values()):
        raise ConfigError(f"{str(path)!r}: {key} must name alternatives, each a mapping of settings")
    for label in choices:
        if label.startswith(".") or set(label) & {"/", "\\"}:
            raise ConfigError(f"{str(path)!r}: {key}: {label!r} must be a name that a folder can have")
    return Axis(key, {label: as_arguments(settings or {}) for label, settings in choices.items()})


def _pick(grids: Sequence[list[Axis]], key: str, value: str) -> list[list[Axis]]:
    """Return the grids with an axis, with only those of its choices that ``value`` names, by label or value."""
    given = parse(value)
    texts = [_text(item) for item in (given if isinstance(given, list) else [given])]
    named = {*texts, *(f"{key}={text}" for text in texts)}
    picked: list[list[Axis]] = []
    known: dict[str, list[str]] = {}
    for grid in grids:
        for at, axis in enumerate(grid):
            if axis.key == key:
                known |= axis.choices
                left = {label: args for label, args in axis.choices.items() if {label, *args} & named}
                picked += [[*grid[:at], axis._replace(choices=left), *grid[at + 1 :]]] if left else []
    if not picked:
        raise ConfigError(f"{key}={value}: the study has only {', '.join(known)}")
    return picked


def flatten(
    content: dict[str, Any], prefix: str = "", whole: Set[str] = frozenset()
) -> Iterator[tuple[str, Any]]:
    """Yield the values in nested mappings with their dotted keys; mappings under the keys ``whole`` stay whole."""
    for key, value in content.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in whole:
            yield from flatten(value, f"{prefix}{key}.", whole)
        else:
            yield f"{prefix}{key}", value


def as_arguments(settings: dict[str, Any]) -> list[str]:
    """Return settings, nested or not, as ``key=value`` arguments."""
    return [f"{key}={_text(value)}" for key, value in flatten(settings, whole=mappings())]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_item(key)}: {_item(item)}' for key, item in value.items())}}}"
    return f"[{','.join(map(_item, value))}]" if isinstance(value, list) else str(value)


def _item(value: Any) -> str:
    """Return the text of a part of a list or mapping, in quotes if it was, or if it must be."""
    plain = not isinstance(value, str) or (
        re.fullmatch(r"[\w.+-]+", value) and not isinstance(value, _Quoted)
    )
    return _text(value) if plain else json.dumps(value, ensure_ascii=False)


def _label(key: str, value: str) -> str:
    """Return the part of a run's name for a value: with its key, unless the value is a word."""
    named = value if re.match(r"(?!(true|false|null)$)[A-Za-z]", value) else f"{key.split('.')[-1]}_{value}"
    return re.sub(r"[^\w.]+", "_", named).strip("_")
