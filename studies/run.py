"""Run a study: ``python -m studies.run STUDY.yaml [--where W] [--jobs N] [--list] [--reuse] [key=value ...]``.

Runs every combination of settings in a study file, which studies/grid.py describes. All are checked before the
first one starts. Each run has a folder in runs/STUDY, or in run_dir=FOLDER, and gets a row in results/STUDY.csv
beside the study when it ends. Finished runs are skipped, interrupted ones continue, and a run that fails does not
stop the others. With --reuse, a row in the table is enough for a run to be skipped. key=value picks from an axis of
the grid, or holds for every run.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from configs.command import drop_output
from configs.compose import CONFIG_FILE, compose, to_yaml
from configs.run_folder import REPORT, make_folder
from configs.values import ConfigError, with_home
from studies.grid import Run, read_study
from studies.launch import OUTPUT, Ending, local, slurm, write_sweeps
from studies.results import add_rows, identity, read_run, read_table, settings_in


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def main(argv: Sequence[str]) -> int:
    """Run the command; return 0 when done, 1 if runs failed, 2 for a mistake in the arguments, 130 interrupted."""
    try:
        status = _run(_parse(argv))
        sys.stdout.flush()
        return status
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as with --list | head
        drop_output()
        return 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parse(argv: Sequence[str]) -> Any:
    parser = _Parser("python -m studies.run", description=__doc__.split("\n\n")[1], allow_abbrev=False)
    parser.add_argument("study", type=Path, help="the study file, such as studies/claims.yaml")
    parser.add_argument(
        "--where", choices=("local", "wandb", "slurm"), default="local", help="where the runs are computed"
    )
    parser.add_argument("--jobs", type=int, help="runs at a time, on this machine by default 1")
    parser.add_argument("--list", action="store_true", help="list the runs and stop")
    parser.add_argument("--reuse", action="store_true", help="count runs with a row as finished")
    parser.add_argument("settings", nargs="*", default=[], metavar="key=value", help="see above")
    options = parser.parse_intermixed_args(argv)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs}: must be at least 1")
    return options


def _run(options: Any) -> int:
    folders = [text for text in options.settings if text.startswith("run_dir=")]
    settings = [text for text in options.settings if not text.startswith("run_dir=")]
    if options.where == "wandb":  # its agents need it online, whatever the study file says
        settings.insert(0, "tracking.wandb=online")
    study = read_study(options.study, settings)
    folder = Path(with_home(folders[-1].partition("=")[2]) if folders else Path("runs", study.name))
    table = options.study.parent / "results" / f"{study.name}.csv"
    runs = list(study.runs())
    identities = check(runs, folder)
    recorded = {identity(row) for row in read_table(table)}
    state = {
        name: _state(folder / name, options.reuse and key in recorded) for name, key in identities.items()
    }
    if options.list:
        for name in state:
            print(f"{state[name]:<8}  {name}")
        return 0
    if (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"run_dir={str(folder)!r}: holds a run; choose another folder for a study")
    if options.where == "wandb":
        make_folder(folder)
        for path in write_sweeps(study, compose(runs[0].arguments).tracking.project, folder / "sweeps"):
            print(f"wandb sweep {path}")
        return 0
    # The command may have been killed after a run ended and before its row was written.
    finished = [folder / name for name in state if (folder / name / REPORT).is_file()]
    add_rows(table, [read_run(path, study.name) for path in finished])
    todo = [run for run in runs if state[run.name] != "finished"]
    ending = _start(todo, folder, options, study.slurm)
    progress = tqdm(ending, study.name, len(runs), initial=len(runs) - len(todo), unit="run")
    with closing(ending), progress:
        failed = _follow(progress, folder, table)
    for name in failed:
        print(f"failed: {name}, see {folder / name / OUTPUT}", file=sys.stderr)
    print(f"{len(runs) - len(failed)} of {len(runs)} runs finished, in {folder} and {table}")
    return int(bool(failed))


def _start(todo: Sequence[Run], folder: Path, options: Any, parameters: Mapping[str, Any]) -> Ending:
    """Make the folder, and start the runs on SLURM or on this machine."""
    make_folder(folder)
    if options.where == "slurm":
        return slurm(todo, folder, options.jobs, parameters)
    return local(todo, folder, options.jobs or 1)


def check(runs: Sequence[Run], folder: Path) -> dict[str, tuple[str, str]]:
    """Compose every run; return its settings that differ from the defaults, and its seed, by its name.

    Raises:
        ConfigError: If a run can't be composed, two runs are the same or share a name, or a folder holds a run of
            other settings.
    """
    names: dict[tuple[str, str], str] = {}
    for run in runs:
        if run.name in names.values():
            raise ConfigError(f"two runs are named {run.name!r}: name their alternatives differently")
        saved = folder / run.name / CONFIG_FILE
        try:
            key = _identity(run.arguments)
            earlier = _identity([str(saved)]) if saved.is_file() else key
        except ConfigError as error:
            raise ConfigError(f"{run.name}: {error}") from None
        if key in names:
            raise ConfigError(f"{run.name!r} and {names[key]!r} are the same run")
        if earlier != key:
            raise ConfigError(f"{str(saved.parent)!r}: holds a run of other settings; choose another run_dir")
        names[key] = run.name
    return {name: key for key, name in names.items()}


def _identity(arguments: Sequence[str]) -> tuple[str, str]:
    config = compose(arguments)
    return settings_in(to_yaml(config)), str(config.seed)


def _state(folder: Path, recorded: bool) -> str:
    """Return how far a run is: its folder tells, or a row that counts."""
    if recorded or (folder / REPORT).is_file():
        return "finished"
    return "begun" if (folder / CONFIG_FILE).is_file() else "new"


def _follow(progress: tqdm[tuple[Run, int]], folder: Path, table: Path) -> list[str]:
    """Add runs to the table as they end; return the names of those that failed."""
    failed = []
    for run, status in progress:
        progress.set_postfix_str(run.name)
        if status:
            failed.append(run.name)
            output = folder / run.name / OUTPUT
            lines = output.read_text(errors="replace").split("\n") if output.is_file() else []
            last = next((line for line in reversed(lines) if line.strip()), "it left no output")
            progress.write(f"failed: {run.name}: {last}", file=sys.stderr)
        elif (folder / run.name / REPORT).is_file():
            add_rows(table, [read_run(folder / run.name, table.stem)])
    return failed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that its runs end as well
    sys.exit(main(sys.argv[1:]))
