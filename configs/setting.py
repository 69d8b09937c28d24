"""A setting: how the schema declares it, how it reads its value, and what it allows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from configs.values import ConfigError, members, read, show

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null"}
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Section(BaseModel):
    """Settings that belong together; the docstring under each one is its sentence in the help."""

    model_config = _STRICT


@dataclass(frozen=True)
class Setting:
    """One setting: its full name, its type with the limits, its default, and a sentence about it."""

    key: str
    kind: Any
    default: Any
    sentence: str

    def parse(self, node: yaml.Node) -> Any:
        """Return the value of a node, read by the type of the setting and checked.

        Raises:
            ConfigError: If it is not allowed; the message names the key, the value and what is allowed.
        """
        try:
            return self._adapter.validate_python(read(self.kind, node))
        except ValueError:  # pydantic's ValidationError is one
            raise ConfigError(f"{self.key}={show(node)}: expected {self.allowed()}") from None
        except ConfigError as error:
            raise ConfigError(f"{self.key}={show(node)}: {error}") from None

    def allowed(self) -> str:
        """Return in words what may be given: ``whole number >= 1 or null``."""
        return _describe(self.kind)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.kind, config=_STRICT)


def settings_in(section: type[Section], prefix: str = "") -> list[Setting]:
    """Return the settings of a section, without those of the sections in it."""
    return [
        Setting(
            f"{prefix}{name}",
            Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,
            field.default,
            " ".join((field.description or "").split()),
        )
        for name, field in section.model_fields.items()
        if field.default_factory is None  # a section has one
    ]


def _describe(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return f"list of: {_describe(arguments[0])}"
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is Annotated:
        words = _describe(arguments[0])
        null = " or null" if NoneType in members(kind) else ""
        return f"{words.removesuffix(null)} {_limits(arguments[1:])}{null}"
    if len(members(kind)) == 1:
        return _WORDS[kind]
    return " or ".join(_describe(m) for m in members(kind) if m is not int or float not in members(kind))


def _limits(metadata: tuple[Any, ...]) -> str:
    limits = [limit for item in metadata for limit in getattr(item, "metadata", [item])]
    return " and ".join(
        f"{sign} {getattr(limit, name)}"
        for name, sign in _SIGNS.items()
        for limit in limits
        if hasattr(limit, name)
    )
