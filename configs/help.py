"""The table of all settings, and what may have been meant by a name that is none."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any

import yaml

from configs.schema import Config, benchmarks
from configs.setting import Setting, settings_of
from configs.values import quote, show

_USAGE = """\
usage: python train.py [overlay.yaml ...] [key=value ...]
       Overlay files and settings are read from left to right; the later wins.
       --help shows this table, --cfg prints the composed configuration; both then stop.

setting, default, what is allowed, and what it does; null means none, a list is written [a,b]"""


def help_text() -> str:
    """The table of all settings by section: name, default, what is allowed, and a sentence."""
    sections: dict[str, list[Setting]] = {}
    for setting in settings_of(Config()):
        sections.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    lines = [_USAGE]
    for section, settings in sections.items():
        if section == "data":
            for name, data in benchmarks().items():
                lines += _table(f"data, with data.name={name}", list(settings_of(data(), "data.")))
        else:
            lines += _table(section, settings)
    return "\n".join(lines)


def unknown(key: str, node: yaml.Node, defaults: Config) -> str:
    """Says why a key names no setting, and which ones may have been meant.

    Args:
        key: The key.
        node: What it was given, for an example.
        defaults: A configuration with the benchmark that was chosen.
    """
    keys = [setting.key for setting in settings_of(defaults)]
    inside = [other for other in keys if other.startswith(f"{key}.")]
    if inside:
        value = show(node).strip("'") if isinstance(node, yaml.ScalarNode) else "..."
        return f"{quote(key)} is a section: give its settings one by one, as {inside[0]}={value}"
    others = {name: settings_of(data(), "data.") for name, data in benchmarks().items()}
    owners = [name for name, settings in others.items() if any(key == setting.key for setting in settings)]
    if owners:
        return f"no setting {quote(key)} with data.name={defaults.data.name}, only with {', '.join(owners)}"
    likeness = {other: _likeness(key[:80], other) for other in keys}
    nearest = sorted(
        (other for other in keys if likeness[other] > 0.7), key=likeness.__getitem__, reverse=True
    )
    hint = f"did you mean {' or '.join(nearest[:3])}?" if nearest else "--help lists all"
    return f"no setting {quote(key)}; {hint}"


def _likeness(key: str, other: str) -> float:
    """Likeness of two keys, or of their last parts if that is greater: from 0 to 1."""
    pairs = (key, other), (key.rpartition(".")[2], other.rpartition(".")[2])
    return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)


def _table(title: str, settings: list[Setting]) -> list[str]:
    rows = [f"  {s.key:<31}  {as_argument(s.default):<19}  ({s.allowed()})  {s.sentence}" for s in settings]
    return ["", title, *rows] if title else ["", *rows]


def as_argument(value: Any) -> str:
    """A default as it is written in an argument."""
    if isinstance(value, list):
        return f"[{','.join(map(as_argument, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
