"""One setting: its declaration, how its value is read, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml
from pydantic import TypeAdapter

from configs.values import ConfigError, read, show
from lightning_warmup.settings import Settings, allowed, kind_of


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
            why = f"expected {self.allowed()}"
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
    """Return the settings of a section that have a default, without its subsections."""
    return [
        Setting(f"{prefix}{name}", kind_of(field), field.default, described(section, name))
        for name, field in section.model_fields.items()
        if field.default_factory is None and not field.is_required()
    ]


def described(section: type[Settings], name: str) -> str:
    """Return the help sentence of a setting as one line."""
    return " ".join((section.model_fields[name].description or "").split())
