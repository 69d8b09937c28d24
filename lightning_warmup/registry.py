"""Finds cells, initialisations, objectives and benchmarks by file name: one file, one part."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


def part_names(folder: Path) -> list[str]:
    """Return the names of the parts in a folder: all files that do not begin with an underscore."""
    return sorted(path.stem for path in folder.glob("[!_]*.py"))


def part_file(what: str, name: str, package: ModuleType) -> ModuleType:
    """Import the file of a part.

    Args:
        what: The setting that names the part, for error messages.
        name: Name of the part.
        package: The package of the folder.

    Raises:
        ValueError: If there is no such file.
    """
    folder = Path(str(package.__file__)).parent
    names = part_names(folder)
    if name not in names:
        missing = f"there is no {folder.name}/{name}.py"
        raise ValueError(f"{what}={name!r}: choose one of {', '.join(names)}; {missing}")
    return import_module(f"{package.__name__}.{name}")


def part_class(file: ModuleType, what: str, *bases: type) -> type[Any]:
    """Return the only public class that the file of a part defines.

    Args:
        file: The imported file.
        what: The setting with its value, for error messages.
        bases: Possible base classes; the first one that has a subclass in the file counts.

    Raises:
        ValueError: If there is no such class, or more than one. Abstract classes do not count.
    """
    own = {value for value in vars(file).values() if getattr(value, "__module__", "") == file.__name__}
    classes = [c for c in own if inspect.isclass(c) and not inspect.isabstract(c) and c.__name__[0] != "_"]
    found = next(filter(None, ([c for c in classes if issubclass(c, base)] for base in bases)), [])
    if len(found) != 1:
        kinds, names = " or ".join(base.__name__ for base in bases), sorted(c.__name__ for c in found)
        wanted = f"must define one public subclass of {kinds} without abstract methods"
        raise ValueError(f"{what}: {file.__file__} {wanted}, not {', '.join(names) or 'none'}")
    return found[0]
