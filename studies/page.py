"""One page on many runs: ``python -m studies.page FOLDER-or-CSV ... --output RESULTS.md [--verdicts FILE]``.

The page is the text of the verdicts, written by hand, in which lines such as these are replaced::

    <!-- table: study=memory rows="cell procedure" figures="test.loss epochs" -->
    <!-- comparison: study=tmaze columns="without warmup|with warmup" figures="test.loss" name=maze -->
    <!-- figure: lengths study=memory lines=procedure panels=cell name=memory -->
    <!-- studies -->

The runs of a row have ``rows`` in common. In a table ``figures`` are its columns. In a comparison the procedures
are, the measure of a row is the first figure that its runs have, and the last procedure is compared with the first,
or with ``against``, seed by seed; with a ``name`` it is drawn as well. All other words pick runs by a column or
setting, or by ``benchmark``, ``cell`` or ``procedure``; several values are separated by ``|``.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.compose import ConfigError
from studies.comparison import compare, comparison, draw_comparison
from studies.figures import KINDS, draw
from studies.groups import Result, group, pick, read_results
from studies.tables import markdown, studies_table, table

MAX_COLUMNS, MAX_ROWS = 8, 15
"""What fits a page, and what a reader takes in."""
_USUAL = (
    "test.loss",
    "test.accuracy",
    "test.return",
    "epochs_until_learnt",
    "vaa.final",
    "resting_vaa.final",
)
_LINE = re.compile(r"^<!-- (table|comparison|figure|studies):? ?(.*?) ?-->$", re.MULTILINE)
_PARTS = ("table:", "figure: learning", "figure: lengths", "figure: vaa", "studies")
_PLAIN = "\n\n".join(["# Results", *(f"<!-- {part} -->" for part in _PARTS)])
"""The page without verdicts: what there is."""


@dataclass(frozen=True)
class Page:
    """A page to be written, with a folder for its figures."""

    results: Sequence[Result]
    output: Path
    figures: Path
    strict: bool  # whether a table that is too large is an error, as it is in a text written by hand

    def write(self, verdicts: str) -> None:
        """Write the page and its figures."""
        text = _LINE.sub(self._part, verdicts)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")

    def _part(self, line: re.Match[str]) -> str:
        """Return what takes the place of a line."""
        parts: dict[str, Callable[..., str]] = {
            "table": self._table,
            "comparison": self._comparison,
            "figure": self._figure,
            "studies": lambda: studies_table(self.results),
        }
        try:
            words = shlex.split(line[2])
            named = dict(word.split("=", 1) for word in words if "=" in word)
            return parts[line[1]](*(word for word in words if "=" not in word), **named)
        except ValueError as error:
            raise ConfigError(f"{line[0]}: {error}") from None
        except TypeError:
            raise ConfigError(f"{line[0]}: needs other words; see python -m studies.page --help") from None

    def _table(self, *, rows: str = "benchmark cell procedure", figures: str = "", **where: str) -> str:
        results = pick(self.results, where)
        if not results:
            return "_No finished run yet._"
        columns = figures.split() or [name for name in _USUAL if any(name in r.figures for r in results)][:4]
        header, lines = table(group(results, rows.split()), rows.split(), columns)
        return self._markdown(header, lines)

    def _comparison(
        self,
        *,
        columns: str,
        figures: str,
        rows: str = "benchmark cell",
        against: str = "",
        name: str = "",
        **where: str,
    ) -> str:
        procedures = columns.split("|")
        results = pick(self.results, where | {"procedure": columns})
        if not results:
            return "_No finished run yet._"
        compared = compare(group(results, [*rows.split(), "procedure"]), figures.split(), procedures)
        text = self._markdown(*comparison(compared, rows.split(), procedures, against or procedures[0]))
        path = draw_comparison(compared, procedures, self.figures / f"{name}.png") if name else None
        if path is None:
            return text
        return f"{self._image('Every run, those of one seed joined', path)}\n\n{text}"

    def _markdown(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
        if self.strict and (len(header) > MAX_COLUMNS or len(lines) > MAX_ROWS):
            raise ConfigError(
                f"table of {', '.join(header)}: has {len(lines)} rows and {len(header)} columns: must have at "
                f"most {MAX_ROWS} and {MAX_COLUMNS}"
            )
        return markdown(header, lines)

    def _figure(
        self, kind: str, *, lines: str = "procedure", panels: str = "cell", name: str = "", **where: str
    ) -> str:
        if kind not in KINDS:
            raise ConfigError(f"figure: {kind!r}: must be one of {', '.join(KINDS)}")
        titles, by_panel = panels.split(), dict[str, dict[str, list[Result]]]()
        for names, results in group(pick(self.results, where), [*titles, *lines.split()]):
            title, label = names[: len(titles)], names[len(titles) :]
            panel = by_panel.setdefault(", ".join(filter(None, title)), {})
            panel.setdefault(", ".join(filter(None, label)), []).extend(results)
        path = draw(kind, by_panel, self.figures / f"{name or kind}.png")
        if path is None:
            return ""
        return self._image(KINDS[kind].title, path)

    def _image(self, title: str, path: Path) -> str:
        return f"![{title}]({Path(os.path.relpath(path, self.output.parent)).as_posix()})"


def main(argv: Sequence[str]) -> int:
    """Write the page; return the exit status."""
    parser = argparse.ArgumentParser("python -m studies.page", description="Write one page on many runs.")
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="FOLDER-or-CSV", help="run folders at any depth, or a table")
    add("--output", type=Path, default=Path("RESULTS.md"), help="the page")
    add("--figures", type=Path, help="folder for its figures; one beside it unless given")
    add("--verdicts", type=Path, help="its text; unless given, tables and figures of all there is")
    options = parser.parse_args(argv)
    figures = options.figures or options.output.parent / f"{options.output.stem.lower()}_figures"
    try:
        results = read_results(options.sources)
        if not results:
            raise ConfigError(f"no finished run in {', '.join(map(str, options.sources))}")
        verdicts = options.verdicts.read_text() if options.verdicts else _PLAIN
        Page(results, options.output, figures, strict=options.verdicts is not None).write(verdicts)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(results)} runs or groups of them")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
