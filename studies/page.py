"""One page about many runs: ``python -m studies.page FOLDER-or-CSV ... --output RESULTS.md``.

A page is a list of sections: a few sentences, tables and figures. The rows of this repository's own studies make
the page of `studies.results_page`; other runs make an overview.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import TextWrapper

from configs.values import ConfigError
from studies import results_page
from studies.figures import AXES, draw_curves
from studies.groups import Result, group, read_results
from studies.section import Section
from studies.tables import LEARNT, in_words, studies_table, table

_USUAL = ("test.loss", "test.accuracy", "test.return", LEARNT, "vaa.final", "resting_vaa.final")
_SHOWN = 4
"""Number of metrics in the table of an overview: the first that any run has."""


def overview(results: Sequence[Result], figures: Path) -> list[Section]:
    """Return a page about any runs: their results, their curves, and where they come from."""
    names = ("benchmark", "cell", "procedure")
    metrics = [name for name in _USUAL if any(name in result.metrics for result in results)][:_SHOWN]
    drawn = [
        draw_curves(prefix, results, names[:2], names[2:], figures / f"{prefix.strip('.')}.png")
        for prefix in AXES
    ]
    text = "Medians over seeds; (a to b) is the full range."
    ends = table(group(results, names), names, {in_words(name): name for name in metrics})
    return [
        Section("# Results", text, [ends, *drawn]),
        Section("## Where the runs come from", "", [studies_table(results)]),
    ]


def write(sections: Sequence[Section], output: Path) -> None:
    """Write a page; its figures are linked relative to it."""
    parts = [part for section in sections for part in (section.title, section.text, *section.parts) if part]
    texts = [_image(part, output) if isinstance(part, Path) else _filled(part.strip()) for part in parts]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n\n".join(texts) + "\n")


def _filled(text: str) -> str:
    """Return a text with paragraphs of equally long lines; tables and headings are left."""
    fill = TextWrapper(116, break_long_words=False, break_on_hyphens=False).fill
    blocks = text.split("\n\n")
    return "\n\n".join(block if block.startswith(("|", "#")) else fill(block) for block in blocks)


def _image(path: Path, output: Path) -> str:
    return f"![{path.stem}]({Path(os.path.relpath(path, output.parent)).as_posix()})"


def main(argv: Sequence[str]) -> int:
    """Write the page; return the exit status."""
    parser = argparse.ArgumentParser("python -m studies.page", description="Write one page about many runs.")
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="FOLDER-or-CSV", help="run folders at any depth, or a table")
    add("--output", type=Path, default=Path("RESULTS.md"), help="the page")
    add("--figures", type=Path, help="folder for its figures; one beside it unless given")
    options = parser.parse_args(argv)
    figures = options.figures or options.output.parent / f"{options.output.stem.lower()}_figures"
    try:
        results = read_results(options.sources)
        if not results:
            raise ConfigError(f"no finished run in {', '.join(map(str, options.sources))}")
        ours = {result["study"] for result in results} >= results_page.STUDIES
        write((results_page.page if ours else overview)(results, figures), options.output)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(results)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
