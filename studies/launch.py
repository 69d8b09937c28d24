"""Start the runs of a study: on this machine, on SLURM, or by the agents of Weights & Biases."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from configs.compose import CONFIG_FILE, ConfigError
from studies.grid import Run, Study

TRAIN = Path(__file__).parents[1] / "train.py"
OUTPUT = "output.txt"
"""File in a run folder with what the run has printed."""


def start(
    script: Path, run: Run, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a script, train.py, on a run in its folder, or go on where it has begun; return its process.

    The environment is for those variables that are not set.
    """
    begun = ["ckpt=last"] if (folder / CONFIG_FILE).is_file() else []
    command = [sys.executable, str(script), *run.arguments, f"run_dir={folder}", *begun]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / OUTPUT).open("a") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**(environment or {}), **os.environ}
        )


def execute(script: Path, run: Run, folder: Path) -> int:
    """Carry a run out as :func:`start` does; return its exit status."""
    return start(script, run, folder).wait()


def local(runs: Iterable[Run], folder: Path, jobs: int) -> Generator[tuple[Run, int], None, None]:
    """Carry runs out on this machine, ``jobs`` at a time, each on one thread unless OMP_NUM_THREADS is set.

    When it is closed or interrupted, it ends the runs that are going on.

    Yields:
        Each run with its exit status, as they end.
    """
    waiting = list(runs)[::-1]
    going: dict[subprocess.Popen[bytes], Run] = {}
    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                run = waiting.pop()
                going[start(TRAIN, run, folder / run.name, {"OMP_NUM_THREADS": "1"})] = run
            for process in [process for process in going if process.poll() is not None]:
                yield going.pop(process), process.returncode
            time.sleep(0.1)
    finally:
        for process in going:
            process.terminate()
        for process in going:
            process.wait()


def slurm(
    runs: Iterable[Run], folder: Path, jobs: int | None, parameters: Mapping[str, Any]
) -> Generator[tuple[Run, int], None, None]:
    """Submit runs to SLURM as one array of jobs, through submitit, and wait for them.

    A job that comes to its time limit counts as failed; the study's command goes on with it when it is given again.
    When the study is closed or interrupted, the jobs that are left are cancelled.

    Args:
        runs: Runs to submit.
        folder: Folder of the study; submitit's own files go to its folder ``slurm``.
        jobs: Jobs of the array at a time; None is submitit's default.
        parameters: Parameters of submitit's AutoExecutor; ``cluster: local`` is for trying it on this machine.

    Returns:
        Each run with its exit status, as they end; a job that ends without one has status 1.

    Raises:
        ConfigError: If there is no submitit or no SLURM, or a parameter is none of submitit's.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError("--where slurm: needs submitit, pip install 'lightning-warmup[slurm]'") from None
    settings = {"name": folder.name, "slurm_array_parallelism": jobs, **parameters}
    cluster = settings.pop("cluster", "slurm")
    try:
        executor = submitit.AutoExecutor(folder / "slurm", cluster=cluster)
        executor.update_parameters(**{key: value for key, value in settings.items() if value is not None})
        with _found_by_jobs(), executor.batch():
            started = {
                run.name: (executor.submit(execute, TRAIN, run, folder / run.name), run) for run in runs
            }
    except (RuntimeError, NameError, TypeError, ValueError, AssertionError, OSError) as error:
        raise ConfigError(f"--where slurm: {' '.join(str(error).split())}") from None
    return _ended(started)


@contextmanager
def _found_by_jobs() -> Iterator[None]:
    """Put the repository on the path of the jobs that are submitted: they import this module."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), before]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ |= {} if before is None else {"PYTHONPATH": before}


def _ended(jobs: dict[str, tuple[Any, Run]]) -> Generator[tuple[Run, int], None, None]:
    try:
        while jobs:
            for name in [name for name, (job, _) in jobs.items() if job.done()]:
                job, run = jobs.pop(name)
                yield run, 1 if job.exception() else job.result()
            time.sleep(0.2 if len(jobs) < 10 else 2)
    finally:
        for job, _ in jobs.values():
            job.cancel()


def write_sweeps(study: Study, project: str, folder: Path) -> list[Path]:
    """Write the files that ``wandb sweep`` takes: one for each grid and alternative; return their paths.

    Values of settings become parameters of the sweep; what differs between alternatives is in its command. The
    agents' runs are online, whatever the study file says, and live in new folders under ``runs/``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, grid in enumerate(study.grids):
        named = [axis for axis in grid.axes if not axis.plain]
        for labels in product(*(axis.choices for axis in named)):
            fixed = [arg for axis, label in zip(named, labels, strict=True) for arg in axis.choices[label]]
            name = "-".join([study.name, *([f"include_{number}"] if number else []), *labels])
            command = [*study.arguments, *grid.arguments, *fixed, "tracking.wandb=online", *study.last]
            content = {
                "name": name,
                "project": project,
                "program": str(TRAIN),
                "method": "grid",
                "command": ["${env}", "${interpreter}", "${program}", *command, "${args_no_hyphens}"],
                "parameters": {
                    axis.key: {"values": _values(axis.choices)} for axis in grid.axes if axis.plain
                },
            }
            paths.append(folder / f"{name}.yaml")
            paths[-1].write_text(yaml.safe_dump(content, sort_keys=False, width=1000))
    return paths


def _values(choices: Mapping[str, list[str]]) -> list[Any]:
    """Return the values of a setting, as numbers where the agent writes them as they were written."""
    texts = [argument.partition("=")[2] for (argument,) in choices.values()]
    natives = [yaml.safe_load(text) for text in texts]
    return [native if str(native) == text else text for native, text in zip(natives, texts, strict=True)]
