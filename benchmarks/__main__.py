"""Measure speed and memory, print every figure, and write the page about them.

    python -m benchmarks [SUBJECT ...] [--quick] [--threads 2] [--output BENCHMARKS.md]

About twelve minutes on two cores, which should be idle; a minute or two with --quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import cells, epoch, growth, memory, page, results, settling, warmup

SUBJECTS = {
    "cells": cells, "memory": memory, "growth": growth, "warmup": warmup, "settling": settling, "epoch": epoch,
}  # fmt: skip


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command was given."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; else all")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"the page, or a folder for {page.PAGE}; {page.CSV} and {page.CHART} go beside it",
    )
    parser.add_argument("--page-only", action="store_true", help=f"write the page anew from its {page.CSV}")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.subjects) - set(SUBJECTS):
        parser.error(f"SUBJECT={unknown.pop()}: must be one of {', '.join(SUBJECTS)}")
    return chosen


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    chosen = options(arguments)
    output = chosen.output or (Path(page.PAGE) if chosen.page_only else None)
    folder, name = (output.parent, output.name) if output and output.suffix == ".md" else (output, page.PAGE)
    if not chosen.page_only:
        torch.set_num_threads(chosen.threads)
        torch.manual_seed(0)
        figures = []
        for subject in chosen.subjects or SUBJECTS:
            for figure in SUBJECTS[subject].measure(chosen.quick):
                print(figure, flush=True)
                figures.append(figure)
        if folder:
            (folder / page.CSV).parent.mkdir(parents=True, exist_ok=True)
            results.write(folder / page.CSV, results.origin(arguments), figures)
    if folder:
        page.write(folder, name)


if __name__ == "__main__":
    main(sys.argv[1:])
