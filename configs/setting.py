"""A setting: how the schema declares it, what it allows, and how it reads its value."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

import yaml

from configs.values import ConfigError, convert, describe, show

Choices = Sequence[str] | Callable[[], Sequence[str]]
_HOLDS = {">": operator.gt, ">=": operator.ge, "<=": operator.le}


def setting(
    default: Any,
    sentence: str,
    *,
    choices: Choices | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field for one setting; limits and choices hold for each item of a list.

    Args:
        default: Its default value.
        sentence: What it does, and in which unit.
        choices: The texts that are allowed, or a function that lists them.
        minimum: Least value allowed.
        maximum: Greatest value allowed.
        above: Value that has to be exceeded.
    """
    limits = {">": above, ">=": minimum, "<=": maximum}
    metadata = {
        "sentence": sentence,
        "choices": choices,
        "limits": {sign: limit for sign, limit in limits.items() if limit is not None},
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Setting:
    """One setting of a configuration: its full name, and what :func:`setting` declared."""

    key: str
    kind: Any
    default: Any
    sentence: str
    choices: Choices | None
    limits: dict[str, float]

    def parse(self, node: yaml.Node) -> Any:
        """The value of a node, converted and checked.

        Raises:
            ConfigError: If it is not allowed; the message names the key, the value and what is.
        """
        try:
            value = convert(self.kind, node)
            if not all(map(self._allows, value if isinstance(value, list) else [value])):
                raise ValueError("out of range")
        except ValueError:
            raise ConfigError(f"{self.key}={show(node)}: expected {self.allowed()}") from None
        except ConfigError as error:
            raise ConfigError(f"{self.key}={show(node)}: {error}") from None
        return value

    def allowed(self) -> str:
        """What may be given, in words: ``whole number >= 1 or null``."""
        words = describe(self.kind)
        if self.choices is not None:
            return words.replace("text", f"one of {', '.join(self._choices())}")
        null = " or null" if words.endswith(" or null") else ""
        limits = " and ".join(f"{sign} {limit}" for sign, limit in self.limits.items())
        return f"{words.removesuffix(null)} {limits}".rstrip() + null

    def _allows(self, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return True
        if self.choices is not None:
            return value in self._choices()
        return all(_HOLDS[sign](value, limit) for sign, limit in self.limits.items())

    def _choices(self) -> Sequence[str]:
        return self.choices() if callable(self.choices) else self.choices or ()


def settings_of(section: Any, prefix: str = "") -> Iterator[Setting]:
    """The settings of a configuration, or of a section of it, in the order of their declaration."""
    kinds = get_type_hints(type(section))
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            yield from settings_of(value, f"{prefix}{item.name}.")
        else:
            yield Setting(f"{prefix}{item.name}", kinds[item.name], value, **item.metadata)
