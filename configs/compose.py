"""Compose a configuration from overlay files and ``key=value`` arguments; the later one wins. No torch here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from configs.help import unknown
from configs.run import Config, choices, mappings, settings_of
from configs.setting import Setting
from configs.values import ConfigError, argument, parse_yaml, quote, with_home

CONFIG_FILE = "config.yaml"


class Entry(NamedTuple):
    """A value given to a key, and the place in a file; an argument needs no place, its key and value show it."""

    where: str
    key: str
    node: yaml.Node


def compose(argv: Sequence[str]) -> Config:
    """Return the configuration that the arguments describe.

    With ``ckpt=last``, the configuration saved in ``run_dir`` is read first.

    Raises:
        ConfigError: If an argument or a file can't be used. The message is one line that says which, and what is
            allowed.
    """
    entries = [entry for text in argv for entry in _read(text)]
    settings = settings_of()
    run_dir = _latest(entries, settings["run_dir"])
    if run_dir is not None and _latest(entries, settings["ckpt"]) == "last":
        saved = Path(run_dir, CONFIG_FILE)
        entries = [*(_overlay(saved) if os.path.isfile(saved) else ()), *entries]
    chosen = {section: _latest(entries, settings[choice.key]) for section, choice in choices().items()}
    settings = settings_of(**chosen)
    tree: dict[str, Any] = {
        section: {choices()[section].key.rpartition(".")[2]: value} for section, value in chosen.items()
    }
    for entry in entries:
        if entry.key not in settings:
            raise ConfigError(entry.where + unknown(entry.key, entry.node, chosen))
        section, _, name = entry.key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = _value(entry, settings[entry.key])
    try:
        return Config(**tree)
    except ValueError as error:  # settings that do not go together
        raise ConfigError(str(error)) from None


def to_yaml(config: Config, leave_out: Sequence[str] = ()) -> str:
    """Return a configuration as YAML that can be used as an overlay, without the settings to ``leave_out``."""
    from omegaconf import OmegaConf  # slow to import: help and errors do without it

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump(exclude=set(leave_out))))


def _read(text: str) -> Iterator[Entry]:
    key, equals, value = text.partition("=")
    if text.endswith((".yaml", ".yml")) and (not equals or "/" in key):
        yield from _overlay(Path(text))
    elif text.startswith("-"):
        raise ConfigError(f"{quote(text)}: no such option; give --help, --cfg, or settings as key=value")
    elif not key or not equals:
        raise ConfigError(f"{quote(text)}: must be key=value or the path of a .yaml file")
    else:
        yield Entry("", key, argument(value))


def _overlay(path: Path) -> Iterator[Entry]:
    try:
        root = parse_yaml(Path(with_home(str(path))).read_text(encoding="utf-8"))
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError("must hold settings, as key: value")
    except ConfigError as error:
        why = str(error)
    except OSError as error:
        why = f"can't be read: {error.strerror}"
    except ValueError:
        why = "is not text in UTF-8"
    else:
        yield from _entries(root, quote(path), "", set())
        return
    raise ConfigError(f"{quote(path)}: {why}")


def _entries(mapping: yaml.MappingNode, file: str, prefix: str, seen: set[str]) -> Iterator[Entry]:
    for key_node, node in mapping.value:
        where = f"{file}, line {key_node.start_mark.line + 1}: "
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{where}the name of a setting must be plain text")
        key = prefix + key_node.value
        if key in seen:
            raise ConfigError(f"{where}{quote(key)} is given twice")
        seen.add(key)
        if isinstance(node, yaml.MappingNode) and node.value and key not in mappings():
            yield from _entries(node, file, f"{key}.", seen)
        else:
            yield Entry(where, key, node)


def _latest(entries: Sequence[Entry], setting: Setting) -> Any:
    """Return the last value of a setting that other settings depend on."""
    given = [entry for entry in entries if entry.key == setting.key]
    return _value(given[-1], setting) if given else setting.default


def _value(entry: Entry, setting: Setting) -> Any:
    try:
        return setting.parse(entry.node)
    except ConfigError as error:
        raise ConfigError(f"{entry.where}{error}") from None
