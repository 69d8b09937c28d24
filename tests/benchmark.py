"""A benchmark from keywords, as the tests make it."""

from __future__ import annotations

from typing import Any

from configs.run import benchmarks
from datamodules import make_benchmark


def benchmark(name: str, seed: int = 0, **settings: Any) -> Any:
    """The datamodule of a benchmark, with some of its settings."""
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return make_benchmark(benchmarks()[name](**settings), seed)
