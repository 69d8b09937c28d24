"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; columns without any entry are left out."""
    there = [at for at in range(len(header)) if any(row[at] for row in rows)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line[at] for at in there)} |" for line in lines)
