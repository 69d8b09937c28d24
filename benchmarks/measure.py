"""Times contenders in turns, so that whatever disturbs the machine disturbs them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

MOST_TURNS = 25


def clock() -> float:
    """Returns seconds: of the processor on one thread, which other processes disturb less, else on the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def in_turns(
    contenders: Mapping[str, Callable[[], object]], budget: float, least: int = 3
) -> dict[str, list[float]]:
    """Calls contenders in turns until ``budget`` seconds have passed, and ``least`` times at the least.

    Returns:
        The seconds of every call, by the name of the contender.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    began, turns = time.perf_counter(), 0
    while turns < least or (time.perf_counter() - began < budget and turns < MOST_TURNS):
        turns += 1
        for name, contender in contenders.items():
            start = clock()
            contender()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Returns the median over the turns of one contender's time over another's."""
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def milliseconds(seconds: Sequence[float]) -> str:
    """Returns the median, for a table."""
    median = 1e3 * statistics.median(seconds)
    return f"{median:.0f}" if median >= 100 else f"{median:.3g}"


def spread(seconds: Sequence[float]) -> str:
    """Returns half the distance of the quartiles in per cent of the median, for a table."""
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return f"{50 * (upper - lower) / median:.0f}"


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns ``function(*arguments)`` from a process that has done nothing else, with as many threads."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as executor:
        return executor.submit(function, *arguments).result()
