"""Contenders timed in turns, so that whatever disturbs the machine disturbs them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.results import Figure

MOST_TURNS = 25


def clock() -> float:
    """Return seconds: of the processor on one thread, which other processes disturb less, else on the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def in_turns(
    contenders: Mapping[str, Callable[[], object]], budget: float, least: int = 3
) -> dict[str, list[float]]:
    """Call contenders in turns until ``budget`` seconds have passed, and ``least`` times at the least.

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


def figures(
    subject: str,
    size: Mapping[str, int],
    seconds: Mapping[str, Sequence[float]],
    ratios: Iterable[tuple[str, str]] = (),
) -> list[Figure]:
    """Return the median of every contender's seconds in ms, then those of the ratios, turn by turn."""

    def figure(contender: str, quantity: str, values: Sequence[float]) -> Figure:
        lower, median, upper = statistics.quantiles(values, n=4)
        return Figure(subject, contender, quantity, median, size, 50 * (upper - lower) / median, len(values))

    times = [figure(name, "ms", [1e3 * s for s in values]) for name, values in seconds.items()]
    return times + [
        figure(one, f"/ {other}", [a / b for a, b in zip(seconds[one], seconds[other], strict=True)])
        for one, other in ratios
    ]


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)`` from a process that has done nothing else, with as many threads."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as executor:
        return executor.submit(function, *arguments).result()
