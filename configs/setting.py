"""One setting: its declaration, how its value is read, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_origin

import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from configs.values import ConfigError, read, show
from lightning_warmup.settings import Settings, allowed, kind_of, members

READABLE = "must be int, float, bool, str, a Literal, a list or dict of these, or one of them or None"
"""Types of a setting."""


@dataclass(frozen=True)
class Setting:
    """A setting: full name, type with limits, default, and the sentence of help."""

    key: str
    kind: Any
    default: Any
    sentence: str

    def parse(self, node: yaml.Node) -> Any:
        """Return the value of a node, or raise a ConfigError that says what is allowed."""
        try:
            return self._adapter.validate_python(read(self.kind, node))
        except ValueError:  # pydantic's ValidationError is one
            written = ", written as [a,b]" if get_origin(members(self.kind)[0]) is list else ""
            why = f"expected {self.allowed()}{written}"
        except ConfigError as error:
            why = str(error)
        raise ConfigError(f"{self.key}={show(node)}: {why}")

    def allowed(self) -> str:
        """Return the allowed values in words, such as ``whole number >= 1 or null``."""
        return allowed(self.kind)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.kind, config=Settings.model_config)


def settings_in(section: type[Settings], prefix: str = "") -> list[Setting]:
    """Return the settings of a section that have a default, without its subsections.

    Raises:
        ConfigError: If the type of one is none that can be read.
    """
    found = []
    for name, field in section.model_fields.items():
        if not _has_default(field):
            continue
        kind = kind_of(field)
        try:
            allowed(kind)
        except KeyError as error:  # a name that is not imported is a ForwardRef
            (unknown,) = error.args
            shown = getattr(unknown, "__forward_arg__", None) or getattr(unknown, "__name__", unknown)
            raise ConfigError(f"{section.__name__}.{name}: {shown}: {READABLE}") from None
        found.append(Setting(f"{prefix}{name}", kind, field.default, described(section, name)))
    return found


def require_defaults(section: type[Settings]) -> None:
    """Raise a ConfigError if a setting of a section has no plain default; it would not be known."""
    for name, field in section.model_fields.items():
        if not _has_default(field):
            raise ConfigError(f"{section.__name__}.{name}: must have a default, a plain value")


def _has_default(field: FieldInfo) -> bool:
    return field.default_factory is None and not field.is_required()


def described(section: type[Settings], name: str) -> str:
    """Return the help sentence of a setting as one line."""
    return " ".join((section.model_fields[name].description or "").split())
