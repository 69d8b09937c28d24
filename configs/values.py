"""Reads the text of an argument or of a YAML file as the type of the setting.

YAML 1.1 reads ``012`` as 10, ``12:30:00`` as 45000 and ``1e-3`` as text; pydantic reads ``1.0`` as 1. Therefore
scalars stay text, as YAML nodes, until the type of the setting is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import AfterValidator

from lightning_warmup.registry import part_names
from lightning_warmup.settings import members

_NULL = "tag:yaml.org,2002:null"
_ARGUMENT = "argument"
_FORMS = {
    # At most 18 digits, which fit in 64 bits. No leading zero: some readers take it for octal.
    int: re.compile(r"[+-]?(0|[1-9][0-9]{0,17})"),
    float: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"),
    bool: re.compile(r"(?i:true|false)"),
}


class ConfigError(Exception):
    """A mistake in the configuration; the message is one line."""


@contextmanager
def mistakes(*others: type[Exception]) -> Iterator[None]:
    """Take what the library refuses here for mistakes in the configuration.

    Raises:
        ConfigError: In place of a ``ValueError``, or of one of the other kinds.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, *others)
    try:
        yield
    except kinds as error:
        raise ConfigError(str(error)) from error


def with_home(path: str) -> str:
    """Return a path with a leading ``~`` replaced by the home folder.

    Raises:
        ConfigError: If there is no such user.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ConfigError("there is no such home folder (write ./~name for a name that begins with ~)")
    return expanded


UserPath = Annotated[str, AfterValidator(with_home)]
"""A path that may begin with ``~``."""


def names_in(folder: str) -> Any:
    """Return a Literal of the parts in a folder of the library, such as all cells."""
    library = Path(__file__).parents[1] / "lightning_warmup"
    return Literal[tuple(part_names(library / folder))]


class _Loader(yaml.SafeLoader):
    """YAML without tags and without aliases: a few aliases can stand for a million values."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="aliases and tags are not allowed", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


def argument(text: str) -> yaml.ScalarNode:
    """Return the node of a plain text value."""
    return yaml.ScalarNode(_ARGUMENT, text)


def parse_yaml(text: str) -> yaml.Node | None:
    """Return the node of a YAML document, None if it is empty.

    Raises:
        ConfigError: If the YAML is not well formed.
    """
    try:
        return yaml.compose(text, _Loader)
    except RecursionError:
        raise ConfigError("YAML nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise ConfigError(f"not well-formed YAML: {what}{where}") from None


def read(kind: Any, node: yaml.Node) -> Any:
    """Return the value of a node, read as a type; pydantic checks limits and choices.

    Args:
        kind: ``int``, ``float``, ``str``, ``bool``, a literal, a union of these and None, or a list or mapping of
            them.
        node: From :func:`parse_yaml` or :func:`argument`.

    Raises:
        ValueError: If the node is not of this type.
        ConfigError: If no setting allows this value.
    """
    kinds = members(kind)
    if get_origin(kinds[0]) is list:
        return [read(get_args(kinds[0])[0], item) for item in _parts(node, yaml.SequenceNode)]
    if get_origin(kinds[0]) is dict:
        pairs = _parts(node, yaml.MappingNode)
        names = [read(str, name) for name, _ in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"{quote(min(twice))} is given twice")
        return {name: read(get_args(kinds[0])[1], item) for name, (_, item) in zip(names, pairs, strict=True)}
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("not a scalar")
    node = _with_environment(node)
    if NoneType in kinds and (node.tag == _NULL or (node.tag, node.value) == (_ARGUMENT, "null")):
        return None
    for member in kinds:
        if member in _FORMS and not node.style and _FORMS[member].fullmatch(node.value):
            return node.value.lower() == "true" if member is bool else member(node.value)
    # Only text is left, which literals are too. A value that YAML has in quotes is always text.
    if node.tag == _NULL or set(kinds) <= {NoneType, *_FORMS}:
        raise ValueError("of another type")
    if not node.value or not node.value.isprintable():
        raise ConfigError("must be printable text, not empty")
    return node.value


def show(node: yaml.Node) -> str:
    """Return a value for an error message, in one line."""
    if isinstance(node, yaml.ScalarNode):
        return "null" if node.tag == _NULL else quote(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


def quote(text: object) -> str:
    """Return a text in quotes for an error message, in one line of at most 300 characters."""
    quoted = repr(str(text))
    return quoted if len(quoted) <= 300 else f"{quoted[:296]}...'"


def _parts(node: yaml.Node, kind: type[yaml.CollectionNode]) -> list[Any]:
    """Return the items of a list or mapping; the text of an argument is read as YAML, such as ``[200, 400]``."""
    if isinstance(node, yaml.ScalarNode):
        scalar = _with_environment(node)
        node = (None if scalar.style else parse_yaml(scalar.value)) or scalar
    if not isinstance(node, kind):
        raise ValueError("of another type")
    return list(node.value)


def _with_environment(node: yaml.ScalarNode) -> yaml.ScalarNode:
    """Replace ``${oc.env:NAME}`` and ``${oc.env:NAME,default}``; refuse other interpolations."""
    text: Any = node.value
    if text.count("${") > text.count("${oc.env:"):
        raise ConfigError("the only interpolation is ${oc.env:NAME}")
    if "${" in text:
        from omegaconf import OmegaConf  # slow to import
        from omegaconf.errors import OmegaConfBaseException

        try:
            text = OmegaConf.create({"value": text})["value"]
        except (OmegaConfBaseException, RecursionError) as error:
            raise ConfigError(str(error).splitlines()[0].strip()) from None
        node = yaml.ScalarNode(_NULL if text is None else _ARGUMENT, str(text))
    # OmegaConf would interpret these when it reads the saved configuration.
    if "${" in node.value or node.value == "???":
        raise ConfigError(f"{quote(node.value)} is reserved for interpolation")
    return node
