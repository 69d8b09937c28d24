"""Measure speed and memory, print every measurement, and write them to a page.

    python -m benchmarks [--quick] [--threads 2] [--output BENCHMARKS.md] [--only SUBJECT ...]

It takes about twelve minutes on two idle cores, and a minute or two with --quick.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import epoch, page, procedures, training
from benchmarks.measure import write
from lightning_warmup.runtime.provenance import git

SUBJECTS = {
    "cells": training.measure_cells, "memory": training.measure_memory, "growth": training.measure_growth,
    "warmup": procedures.measure_warmup, "settling": procedures.measure_settling, "epoch": epoch.measure,
}  # fmt: skip


def origin(arguments: Sequence[str]) -> str:
    """Return the origin of the measurements: processor, threads, versions, system, commit, command."""
    info, name = Path("/proc/cpuinfo"), platform.processor()
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), name)
    commit = git(Path(__file__).parent, "describe", "--always", "--dirty") or "unknown"
    clock = "of the processor" if torch.get_num_threads() == 1 else "on the wall"
    return (
        f"{name}, {os.cpu_count()} cores, torch on {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}, lightning {version('lightning')}, Python {platform.python_version()}; "
        f"{platform.platform()}; load {os.getloadavg()[0]:.1f} at the start; times {clock}; commit {commit}; "
        f"{shlex.join(['python', '-m', 'benchmarks', *arguments])}"
    )


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = ArgumentParser("benchmarks", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes and few repeats")
    add("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    add("--output", type=Path, help=f"the page, or a folder for {page.PAGE}, {page.CSV} and its chart")
    add("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS, help="subjects to measure; all by default")
    add("--page-only", action="store_true", help="measure nothing; write page and chart from the CSV")
    options = parser.parse_args(arguments)
    output = options.output or Path(page.PAGE)
    folder, name = (output.parent, output.name) if output.suffix == ".md" else (output, page.PAGE)
    if not options.page_only:
        torch.set_num_threads(options.threads)
        torch.manual_seed(0)
        measured_on, found = origin(arguments), []
        for subject in options.only:
            for each in SUBJECTS[subject](options.quick):
                print(each, flush=True)
                found.append(each)
        if options.output:
            (folder / page.CSV).parent.mkdir(parents=True, exist_ok=True)
            write(folder / page.CSV, measured_on, found)
    if options.output or options.page_only:
        page.write(folder, name)


if __name__ == "__main__":
    main(sys.argv[1:])
