"""All benchmarks in one run.

    python -m benchmarks [--quick] [--threads 2] [--output BENCHMARKS.md]

About a quarter of an hour on two cores, which should be idle; a minute or two with --quick.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import cells, epoch, growth, memory, page, settling, vanishing, warmup

SUBJECTS = (cells, vanishing, memory, growth, warmup, settling, epoch)

INTRODUCTION = """\
# Benchmarks

{machine}

```bash
python -m benchmarks {arguments}
```

Contenders take turns in one process. Times are medians over the turns, ±% is half the distance of the quartiles
in per cent of the median, a ratio is the median over the turns. Times are {clock}."""


def sections(quick: bool, arguments: list[str], threads: int) -> Iterator[str]:
    """Yields the page piece by piece, as it is measured."""
    clock = "those of the processor" if threads == 1 else "those on the wall"
    yield INTRODUCTION.format(machine=page.machine(), arguments=" ".join(arguments), clock=clock)
    for subject in SUBJECTS:
        title, _, text = inspect.getdoc(subject).partition("\n\n")  # type: ignore[union-attr]
        yield f"## {title.rstrip('.')}\n\n{text}"
        yield from map(str, subject.tables(quick))


def main(arguments: list[str]) -> None:
    """Runs all benchmarks, and writes the page if a file is given for it."""
    parser = page.parser(__doc__)
    parser.add_argument("--output", type=Path, help="file to write the page to, beside printing it")
    options = parser.parse_args(arguments)
    page.prepare(options.threads)
    pieces = []
    for piece in sections(options.quick, arguments, options.threads):
        print(f"{piece}\n", flush=True)
        pieces.append(piece)
    if options.output:
        options.output.write_text("\n\n".join(pieces) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
