"""Groups of settings: names, types, limits and defaults, declared once and without torch."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null"}
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Settings(BaseModel):
    """A group of settings, one field each; the docstring under a field is its help.

    Raises:
        ValueError: If a setting does not exist or a value is not allowed. The message is one line.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(_in_one_line(type(self), error)) from None


def kind_of(field: FieldInfo) -> Any:
    """Return the type of a field with its limits."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself, without limits."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def allowed(kind: Any) -> str:
    """Return in words what a type allows, such as ``whole number >= 1 or null``."""
    origin, (first, *others) = get_origin(kind), get_args(kind) or (kind,)
    if origin is list:
        return f"list of: {allowed(first)}"
    if origin is dict:
        return f"mapping from names to: {allowed(others[0])}"
    if origin is Literal:
        if not all(isinstance(choice, str) for choice in (first, *others)):
            raise KeyError(kind)
        return f"one of {', '.join([first, *others])}"
    if origin is Annotated:
        limits = [limit for item in others for limit in getattr(item, "metadata", [item])]
        signs = [
            (sign, limit, name) for name, sign in _SIGNS.items() for limit in limits if hasattr(limit, name)
        ]
        words, null = allowed(first), " or null" if NoneType in members(kind) else ""
        shown = " and ".join(f"{sign} {getattr(limit, name)}" for sign, limit, name in signs)
        return f"{words.removesuffix(null)} {shown}".rstrip() + null
    if not others:
        return _WORDS[kind]
    return " or ".join(allowed(m) for m in (first, *others) if m is not int or float not in others)


def _in_one_line(settings: type[Settings], error: ValidationError) -> str:
    """Return the first error: the setting, its value, and what is allowed."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # one of our own checks, whose message is complete
        return str(first["ctx"]["error"])
    name = str(first["loc"][0])
    if name not in settings.model_fields:
        return f"{name}: no such setting of {settings.__name__}, which has {', '.join(settings.model_fields)}"
    return f"{name}={first['input']!r}: must be {allowed(kind_of(settings.model_fields[name]))}"
