"""Uses objects and restores them afterwards."""

from __future__ import annotations

import functools
import operator
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

SMALL = 100_000
"""Larger tensors and arrays are data, not counters; they are not copied."""
FEW = 1000
"""The items of longer lists are data too; they are not searched."""


@contextmanager
def unchanged(things: Iterable[Any], but: nn.Module) -> Iterator[None]:
    """Restore objects, and all objects that they hold, when the block ends.

    Restored are attributes, lists, dicts and sets, tensors and arrays up to ``SMALL`` values, and random generators
    of torch, numpy and Python. Not restored are larger tensors, objects of the standard library such as open files,
    and the position of a generator function.

    Args:
        things: The objects.
        but: A module that keeps its changes; all parameters keep theirs too.
    """
    undo: list[Callable[[], object]] = []
    seen = {id(module) for module in but.modules()}
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        if id(thing) not in seen:
            seen.add(id(thing))
            waiting += _remember(thing, undo)
    try:
        yield
    finally:
        for put_back in undo:
            put_back()


@contextmanager
def own_random_streams() -> Iterator[None]:
    """Put the global random streams back when the block ends, also if an exception ends it."""
    isolated = isolate_rng()  # which alone puts nothing back after an exception
    isolated.__enter__()
    try:
        yield
    finally:
        isolated.__exit__(None, None, None)


def _remember(thing: Any, undo: list[Callable[[], object]]) -> Iterable[Any]:
    """Add the function that restores a thing to ``undo``, and return the objects that it holds."""
    if isinstance(thing, (nn.Parameter, Trainer, Callback, type, types.ModuleType, str, bytes)):
        return ()
    if isinstance(thing, Tensor):
        if type(thing) is Tensor and thing.layout == torch.strided and thing.numel() <= SMALL:
            undo.append(_tensor(thing))
        return ()
    if isinstance(thing, np.ndarray):
        if thing.size <= SMALL and thing.flags.writeable:
            undo.append(functools.partial(thing.__setitem__, ..., thing.copy()))
        return ()
    if isinstance(thing, (list, deque, dict, set)):
        undo.append(_container(thing))
        held = thing.values() if isinstance(thing, dict) else thing
        return list(held) if len(thing) <= FEW else ()
    if isinstance(thing, (tuple, frozenset)):
        return thing if len(thing) <= FEW else ()
    if (generator := _generator(thing)) is not None:
        undo.append(generator)
        return ()
    if isinstance(thing, types.MethodType):
        return (thing.__self__,)
    if isinstance(thing, functools.partial):
        return (thing.func, thing.args, thing.keywords)
    if isinstance(thing, types.FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
    if type(thing).__module__.partition(".")[0] in sys.stdlib_module_names or not hasattr(thing, "__dict__"):
        return ()
    undo.append(_container(vars(thing)))
    return list(vars(thing).values())


def _tensor(tensor: Tensor) -> Callable[[], object]:
    before = tensor.detach().clone()

    @torch.no_grad()
    def put_back() -> None:
        if not tensor.is_meta and not torch.equal(tensor, before):
            tensor.copy_(before)

    return put_back


def _container(container: Any) -> Callable[[], object]:
    before = container.copy()

    def put_back() -> None:
        if _same(container, before):
            return  # other threads may be using it
        container.clear()
        (container.update if isinstance(container, (dict, set)) else container.extend)(before)

    return put_back


def _same(container: Any, before: Any) -> bool:
    """Return whether two containers hold the same objects."""
    if isinstance(container, dict):
        return _same(list(container), list(before)) and _same([*container.values()], [*before.values()])
    return len(container) == len(before) and all(map(operator.is_, container, before))


def _generator(thing: Any) -> Callable[[], object] | None:
    """Return the function that restores a random generator, or None if this is not one."""
    if isinstance(thing, torch.Generator):
        return functools.partial(thing.set_state, thing.get_state())
    if isinstance(thing, random.Random):
        return functools.partial(thing.setstate, thing.getstate())
    if isinstance(thing, np.random.RandomState):
        return functools.partial(thing.set_state, thing.get_state())
    if isinstance(thing, np.random.Generator):
        return functools.partial(setattr, thing.bit_generator, "state", thing.bit_generator.state)
    return None


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
