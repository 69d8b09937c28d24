"""What a benchmark prints: its subject, the machine, and tables in Markdown."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch


@dataclass(frozen=True)
class Table:
    """A table with its title; the first row is the heading."""

    title: str
    rows: list[list[str]]

    def __str__(self) -> str:
        """The table in Markdown, its columns aligned."""
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        heading, *body = (
            [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in self.rows
        )
        lines = [f"| {' | '.join(row)} |" for row in (heading, rule, *body)]
        return "\n".join([f"**{self.title}**", "", *lines])


Tables = Callable[[bool], Iterator[Table]]
"""The tables of a benchmark, quick or whole."""


def machine() -> str:
    """Returns what the figures depend on: processor, threads, versions, and how busy the machine is."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    versions = (
        f"torch {torch.__version__}, lightning {version('lightning')}, Python {platform.python_version()}"
    )
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, "
        f"torch on {torch.get_num_threads()} threads; {versions}; {platform.platform()}; "
        f"load {os.getloadavg()[0]:.1f} at the start."
    )


def parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    return parser


def prepare(threads: int) -> None:
    """Sets the threads of torch and its seed."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)


def command(description: str | None, tables: Tables) -> None:
    """Runs one benchmark from the command line, and prints its tables as they come."""
    arguments = parser(description).parse_args()
    prepare(arguments.threads)
    print(machine(), flush=True)
    for table in tables(arguments.quick):
        print(f"\n{table}", flush=True)
    sys.stdout.flush()
