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
        """Return the value of a node; raise a ConfigError that says what is allowed if it is not."""
        try:
            return self._adapter.validate_python(read(self.kind, node))
        except ValueError:  # pydantic's ValidationError is one
            why = f"expected {self.allowed()}"
        except ConfigError as error:
            why = str(error)
        raise ConfigError(f"{self.key}={show(node)}: {why}")

    def allowed(self) -> str:
        """Return in words what may be given: ``whole number >= 1 or null``."""
        return _describe(self.kind)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.kind, config=_STRICT)


def settings_in(section: type[Section], prefix: str = "") -> list[Setting]:
    """Return the settings of a section, without those of the sections in it, which have factories."""
    return [
        Setting(
            f"{prefix}{name}",
            Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,
            field.default,
            " ".join((field.description or "").split()),
        )
        for name, field in section.model_fields.items()
        if field.default_factory is None
    ]


def _describe(kind: Any) -> str:
    origin, (first, *others) = get_origin(kind), get_args(kind) or (kind,)
    if origin is list:
        return f"list of: {_describe(first)}"
    if origin is Literal:
        return f"one of {', '.join([first, *others])}"
    if origin is Annotated:
        limits = [limit for item in others for limit in getattr(item, "metadata", [item])]
        signs = [
            (sign, limit, name) for name, sign in _SIGNS.items() for limit in limits if hasattr(limit, name)
        ]
        words, null = _describe(first), " or null" if NoneType in members(kind) else ""
        shown = " and ".join(f"{sign} {getattr(limit, name)}" for sign, limit, name in signs)
        return f"{words.removesuffix(null)} {shown}".rstrip() + null
    if not others:
        return _WORDS[kind]
    return " or ".join(_describe(m) for m in (first, *others) if m is not int or float not in others)
