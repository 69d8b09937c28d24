"""Carries a study out: ``python -m studies.run STUDY.yaml [--where W] [--jobs N] [--list] [key=value ...]``.

A study file stands for many runs, see :mod:`studies.grid`. All are checked before the first one starts. Each has
a folder of its own in the study's folder, ``runs/STUDY`` or ``run_dir=FOLDER``. Runs that have finished are not
repeated, those that have begun go on, and one that fails does not stop the others. ``key=value`` picks from an axis
of the grid, or holds for every run.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from configs.compose import CONFIG_FILE, Config, ConfigError, compose
from studies.grid import Run, read_study
from studies.launch import OUTPUT, local, slurm, write_sweeps

COMMANDS = "commands.txt"
"""File in the study's folder with the commands that it was carried out by."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        Its exit status: 0 done, 1 some runs failed, 2 a mistake in the arguments, 130 interrupted.
    """
    try:
        options = _parse(argv)
        given = [text for text in options.settings if text.startswith("run_dir=")]
        study = read_study(options.study, [text for text in options.settings if text not in given])
        folder = Path(given[-1].partition("=")[2] if given else Path("runs", study.name))
        runs = list(study.runs())
        configs = check(runs, folder)
        states = {run.name: state(folder / run.name) for run in runs}
        if options.list:
            for run in runs:
                print(f"{states[run.name]:<8}  {run.name}  {shlex.join(run.arguments)}")
            return 0
        if options.where == "wandb":
            for path in write_sweeps(study, configs[0].tracking.project, folder / "sweeps"):
                print(f"wandb sweep {path}")
            return 0
        todo = [run for run in runs if states[run.name] != "finished"]
        _note_command(folder, argv)
        if options.where == "slurm":
            ending = slurm(todo, folder, options.jobs, study.slurm)
        else:
            ending = local(todo, folder, options.jobs or 1)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        failed = _follow(ending, study.name, len(runs), len(todo), folder)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    for run in failed:
        print(f"failed: {run.name}, see {folder / run.name / OUTPUT}", file=sys.stderr)
    print(f"{len(runs) - len(failed)} of {len(runs)} runs finished in {folder}")
    return int(bool(failed))


def _follow(
    ending: Generator[tuple[Run, int], None, None], name: str, runs: int, todo: int, folder: Path
) -> list[Run]:
    """Shows the progress of runs as they end; returns those that failed."""
    failed = []
    with (
        closing(ending),
        tqdm(ending, desc=name, total=runs, initial=runs - todo, unit="run") as progress,
    ):
        for run, status in progress:
            progress.set_postfix_str(run.name)
            if status:
                failed.append(run)
                progress.write(f"failed: {run.name}: {_last_line(folder / run.name)}", file=sys.stderr)
    return failed


def check(runs: Sequence[Run], folder: Path) -> list[Config]:
    """Composes every run, and compares it with the others and with what its folder holds.

    Args:
        runs: The runs.
        folder: The study's folder.

    Returns:
        Their configurations.

    Raises:
        ConfigError: If one can't be composed, two of them are the same or have the same name, or a folder holds
            a run of other settings.
    """
    configs: dict[str, Config] = {}
    names: dict[str, str] = {}
    for run in runs:
        if run.name in configs:
            raise ConfigError(f"two runs are named {run.name!r}: name their alternatives differently")
        try:
            configs[run.name] = compose(run.arguments)
            other = names.setdefault(repr(configs[run.name]), run.name)
            saved = folder / run.name / CONFIG_FILE
            earlier = compose([str(saved)]) if saved.is_file() else configs[run.name]
        except ConfigError as error:
            raise ConfigError(f"{run.name}: {error}") from None
        if other != run.name:
            raise ConfigError(f"{run.name!r} and {other!r} are the same run")
        if earlier.model_copy(update={"tracking": configs[run.name].tracking}) != configs[run.name]:
            raise ConfigError(f"{str(saved.parent)!r}: holds a run of other settings; choose another run_dir")
    return list(configs.values())


def state(folder: Path) -> str:
    """How far a run is, by its folder: ``new``, ``begun`` or ``finished``."""
    if (folder / "report.json").is_file():
        return "finished"
    return "begun" if (folder / CONFIG_FILE).is_file() else "new"


def _parse(argv: Sequence[str]) -> Any:
    parser = _Parser("python -m studies.run", description=__doc__.split("\n\n")[1], allow_abbrev=False)
    parser.add_argument("study", type=Path, help="the study file, such as studies/claims.yaml")
    parser.add_argument("--where", choices=("local", "wandb", "slurm"), default="local", help="who runs it")
    parser.add_argument("--jobs", type=int, help="runs at a time; 1 on this machine unless given")
    parser.add_argument("--list", action="store_true", help="list the runs and stop")
    parser.add_argument("settings", nargs="*", default=[], metavar="key=value", help="see above")
    options = parser.parse_intermixed_args(argv)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs}: must be at least 1")
    return options


def _note_command(folder: Path, argv: Sequence[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / COMMANDS).open("a") as file:
            file.write(shlex.join(["python", "-m", "studies.run", *argv]) + "\n")
    except OSError as error:
        raise ConfigError(f"run_dir={str(folder)!r}: can't be used: {error.strerror}") from None


def _last_line(folder: Path) -> str:
    path = folder / OUTPUT
    lines = path.read_text(errors="replace").strip().splitlines() if path.is_file() else []
    return lines[-1] if lines else "it left no output"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the runs that are going on as well
    sys.exit(main(sys.argv[1:]))
