"""One page on many runs: ``python -m studies.page FOLDER ... --output RESULTS.md``.

It reads the run folders in the given folders, at any depth, and writes tables with median and quartiles over the
seeds, figures in a folder, and what the runs say of each claim of the paper's abstract.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_warmup.reporting.portraits import read_portraits
from studies.claims import CLAIMS
from studies.figures import draw_learning_over_vaa, draw_vaa_against_steps
from studies.lasting import SECTIONS, is_for_rest
from studies.runs import Labels, Run, group, is_double, read_runs
from studies.tables import markdown, spread

COMMANDS = "commands.txt"
"""File of a study's folder with the commands that it was carried out by."""
_REPORTED = (["vaa", "resting_vaa", "rest", "residual"], ["val", "test"])
"""Sections of a report that share a table."""


def page(runs: Sequence[Run], commands: Sequence[str], figures: Path, folder: Path, remarks: str = "") -> str:
    """Writes the figures, and returns the page as Markdown.

    Runs of a study with a warmup for rest are compared with each other alone, in sections of their own.

    Args:
        runs: The runs.
        commands: Commands that they, and the page, come from.
        figures: Folder for the figures.
        folder: Folder of the page.
        remarks: Markdown that comes first.
    """
    studies = group(runs, lambda run: run.settings.get("tracking.group"))
    about_rest = {name: members for name, members in studies.items() if any(map(is_for_rest, members))}
    about_claims = [
        run
        for name, members in studies.items()
        for run in members
        if name not in about_rest or (name is None and not is_for_rest(run))
    ]
    labels = Labels(about_claims)
    pictures = _draw(about_claims, labels, figures)
    parts = ["# Results", *([remarks.strip()] if remarks.strip() else []), _origin(runs, commands)]
    for number, (claim, tell) in enumerate(CLAIMS.items(), start=1):
        images = [
            f"![{path.stem.replace('_', ' ')}]({Path(os.path.relpath(path, folder)).as_posix()})"
            for path in pictures.get(number, [])
        ]
        parts += [f"## Claim {number}: {claim}", tell(about_claims, labels), *images]
    for title, about in SECTIONS.items():
        told = [text for members in about_rest.values() if (text := about(members, Labels(members)))]
        parts += [f"## {title}", *told] if told else []
    parts.append("## All figures")
    for study, members in {"": about_claims, **about_rest}.items():
        parts += _tables(members, Labels(members), study)
    return "\n\n".join(parts) + "\n"


def _origin(runs: Sequence[Run], commands: Sequence[str]) -> str:
    """How many runs there are, what they were made from, and how a figure is to be read."""
    commits = [
        f"`{commit or 'unknown'}`{' with uncommitted changes' if dirty else ''} ({len(members)} runs)"
        for (commit, dirty), members in group(
            runs, lambda run: (run.provenance.get("commit"), run.provenance.get("dirty"))
        ).items()
    ]
    torch = sorted({str(run.provenance.get("versions", {}).get("torch")) for run in runs})
    count, steps = (sorted({run.report[key] for run in runs}) for key in ("vaa_sequences", "vaa_steps"))
    seeds = sorted({run.report["seed"] for run in runs})
    return "\n\n".join(
        [
            f"{len(runs)} runs with the seeds {', '.join(map(str, seeds))}. A figure is the median over the seeds, "
            "with the quartiles in brackets. Learnt means a validation loss below half of that of the best "
            "constant prediction, or an optimal policy; in the T-Maze an epoch lasts from one evaluation of the "
            "policy to the next. VAA and resting fraction are those of "
            f"N = {', '.join(map(str, count))} sequences after M = {', '.join(map(str, steps))} steps under a "
            "constant input, unless another M is told; at rest is what one more step does not move.",
            f"Commit: {', '.join(commits)}. torch {', '.join(torch)}.",
            "```bash\n" + "\n".join(commands) + "\n```",
        ]
    )


def _draw(runs: Sequence[Run], labels: Labels, folder: Path) -> dict[int, list[Path]]:
    """Draws the figures of each claim, one for each benchmark; returns them by the number of the claim."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[int, list[Path]] = {2: [], 5: []}
    for benchmark, members in group(runs, labels.benchmark).items():
        stem = "".join(c if c.isalnum() else "_" for c in benchmark)
        single = [run for run in members if not is_double(run)]
        watched = [run for run in single if run.monitored("vaa") and labels.start(run) == "default"]
        if watched:
            groups = group(watched, lambda run: f"{run.settings['model.cell']}, {labels.variant(run)}")
            drawn[2].append(draw_learning_over_vaa(groups, benchmark, folder / f"learning_{stem}.png"))
        portrayed = [run for run in single if read_portraits(run.folder)]
        for cell, those in group(portrayed, lambda run: run.settings["model.cell"]).items():
            if any(labels.start(run) != "default" for run in those):
                path = folder / f"vaa_{stem}_{cell}.png"
                drawn[5].append(
                    draw_vaa_against_steps(group(those, labels.variant), f"{cell}, {benchmark}", path)
                )
    return drawn


def _tables(runs: Sequence[Run], labels: Labels, study: str | None) -> list[str]:
    """Tables of everything that is in the reports, a few for each benchmark."""
    parts = []
    for benchmark, members in group(runs, labels.benchmark).items():
        groups = group(members, lambda run: (run.settings["model.cell"], labels.variant(run)))
        parts.append(f"### {benchmark}" + (f", study {study}" if study else ""))
        lengths = sorted({key for run in members for key in run.report if key.endswith("_at_length")})
        for sections in (*_REPORTED, lengths, ["seconds"]):
            figures = [
                f"{section}.{name}"
                for section in sections
                for name in dict.fromkeys(name for run in members for name in run.report.get(section) or ())
            ]
            rows = [
                [*names, len(those), *(spread(run.figure(figure) for run in those) for figure in figures)]
                for names, those in groups.items()
            ]
            headings = [figure.replace(".", " ").replace("_", " ") for figure in figures]
            parts += [markdown(["cell", "setting", "runs", *headings], rows)] if figures else []
    return parts


def _commands(folders: Sequence[Path], runs: Sequence[Run]) -> list[str]:
    """The commands of the studies in some folders, and where there are none those of the runs.

    Those that differ in the seed alone are one line. Where a run and its files lay, and how it was tracked, is left
    out.
    """
    notes = [folder / COMMANDS for folder in folders if (folder / COMMANDS).is_file()]
    lines = [line for note in notes for line in note.read_text().splitlines()]
    alone = [run for run in runs if not any(note.parent in run.folder.parents for note in notes)]
    for command, members in group(alone, _command).items():
        seeds = ", ".join(str(run.report["seed"]) for run in members)
        lines.append(f"{command}  # S = {seeds}" if "seed=S" in command else command)
    return list(dict.fromkeys(lines))


def _command(run: Run) -> str:
    words = shlex.split(str(run.provenance.get("command", "")))
    kept = [word for word in words if not word.startswith(("run_dir=", "data.root=", "tracking."))]
    return shlex.join("seed=S" if word.startswith("seed=") else word for word in kept)


def main(argv: Sequence[str]) -> int:
    """Writes the page; returns the exit status."""
    parser = argparse.ArgumentParser("python -m studies.page", description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="a run folder, or one that holds some"
    )
    parser.add_argument("--output", type=Path, default=Path("RESULTS.md"), help="the page")
    parser.add_argument("--figures", type=Path, help="folder for its figures; one beside it unless given")
    parser.add_argument("--remarks", type=Path, help="a file in Markdown, to be put first")
    options = parser.parse_args(argv)
    try:
        remarks = options.remarks.read_text() if options.remarks else ""
    except OSError as error:
        print(f"error: --remarks {options.remarks}: can't be read: {error.strerror}", file=sys.stderr)
        return 2
    runs = read_runs(options.folders)
    if not runs:
        print(f"error: no finished run in {', '.join(map(str, options.folders))}", file=sys.stderr)
        return 2
    commands = [
        *_commands(options.folders, runs),
        shlex.join(["python", "-m", "studies.page", *argv]),
    ]
    folder = options.output.parent
    figures = options.figures or folder / f"{options.output.stem.lower()}_figures"
    options.output.write_text(page(runs, commands, figures, folder, remarks))
    print(f"{options.output}: {len(runs)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
