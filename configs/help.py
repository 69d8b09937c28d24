"""The table of all settings, and suggestions for a misspelled one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any

import yaml

from configs.run import Choice, choices, settings_of
from configs.setting import Setting
from configs.values import quote, show

_USAGE = """\
usage: python train.py [overlay.yaml ...] [key=value ...]
       Overlay files and settings are read from left to right; the later one wins.
       --help prints this table, --cfg prints the composed configuration; neither starts a run.

Each line: setting, default, (allowed values), meaning. null means none; a list is written [a,b]."""


def help_text() -> str:
    """Return the table of all settings, section by section."""
    sections: dict[str, list[Setting]] = {}
    for setting in settings_of().values():
        sections.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    lines = [_USAGE]
    for section, settings in sections.items():
        lines.append("")
        if section:
            lines.append(section)
        if choice := choices().get(section):
            lines += _rows_of_choice(choice)
        else:
            lines += _rows(settings)
    return "\n".join(lines)


def unknown(key: str, node: yaml.Node, chosen: Mapping[str, str]) -> str:
    """Return the error for a key that is no setting, with the most similar ones.

    Args:
        key: The key.
        node: The value that was given; the message uses it in an example.
        chosen: The choices of the run by section, such as ``{"data": "denoising"}``.
    """
    keys = list(settings_of(**chosen))
    inside = [other for other in keys if other.startswith(f"{key}.")]
    if inside:
        plain = isinstance(node, yaml.ScalarNode) and show(node).strip("'").isidentifier()
        value = show(node).strip("'") if plain else "..."
        return f"{quote(key)} is a section: give its settings one by one, as {inside[0]}={value}"
    section = key.partition(".")[0]
    if choice := choices().get(section):
        owners = [value for value in choice.kinds if key in settings_of(**{section: value})]
        if owners:
            with_it = f"{choice.key}={chosen[section]}"
            return f"there is no setting {quote(key)} with {with_it}, only with {', '.join(owners)}"
    likeness = {other: _likeness(key[:80], other) for other in keys}
    nearest = sorted(
        (other for other in keys if likeness[other] > 0.7), key=likeness.__getitem__, reverse=True
    )
    hint = f"did you mean {' or '.join(nearest[:3])}?" if nearest else "--help lists all"
    return f"there is no setting {quote(key)}; {hint}"


def as_argument(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(as_argument, value))}]"
    if isinstance(value, dict):
        return json.dumps(value)  # JSON is YAML
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _likeness(key: str, other: str) -> float:
    """Return the similarity of two keys, from 0 to 1: as a whole or in their last parts, whichever is greater."""
    pairs = (key, other), (key.rpartition(".")[2], other.rpartition(".")[2])
    return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)


def _rows_of_choice(choice: Choice) -> list[str]:
    """Return the rows of a section that depends on a choice: shared settings first, then those of each value."""
    by_value = {value: choice.settings(value) for value in choice.kinds}
    common = choice.settings(choice.default)[: len(choice.common.model_fields)]
    keys = {setting.key for setting in common}
    lines = _rows(common)
    for value, settings in by_value.items():
        lines += ["", f"{choice.key.partition('.')[0]}, with {choice.key}={value}"]
        lines += _rows(setting for setting in settings if setting.key not in keys)
    return lines


def _rows(settings: Iterable[Setting]) -> list[str]:
    return [f"  {s.key:<31}  {as_argument(s.default):<19}  ({s.allowed()})  {s.sentence}" for s in settings]
