"""Start the runs of a study: on this machine, on SLURM, or by the agents of Weights & Biases."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from configs.compose import CONFIG_FILE
from configs.values import ConfigError
from studies.grid import Run, Study

TRAIN = Path(__file__).parents[1] / "train.py"
OUTPUT = "output.txt"
"""File in a run folder with what the run has printed."""
Ending = Generator[tuple[Run, int], None, None]
"""Yields each run with its exit status when it ends. If it is closed or interrupted, it ends the other runs."""


def start(script: Path, arguments: Sequence[str], folder: Path, **unset: str) -> subprocess.Popen[bytes]:
    """Start a run in its folder, or continue one; ``unset`` are environment variables, unless they are set."""
    begun = ["ckpt=last"] if (folder / CONFIG_FILE).is_file() else []
    command = [sys.executable, str(script), *arguments, f"run_dir={folder}", *begun]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / OUTPUT).open("a") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=unset | dict(os.environ))


def execute(script: Path, arguments: Sequence[str], folder: Path) -> int:
    """Start a run and wait for it; return its exit status."""
    return start(script, arguments, folder).wait()


def local(runs: Sequence[Run], folder: Path, jobs: int) -> Ending:
    """Run on this machine, ``jobs`` runs at a time, each on one thread unless OMP_NUM_THREADS is set."""
    waiting = list(runs)[::-1]
    going: dict[subprocess.Popen[bytes], Run] = {}
    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                run = waiting.pop()
                going[start(TRAIN, run.arguments, folder / run.name, OMP_NUM_THREADS="1")] = run
            for process in [process for process in going if process.poll() is not None]:
                yield going.pop(process), process.returncode
            time.sleep(0.1)
    finally:
        for process in going:
            process.terminate()
        for process in going:
            process.wait()


def slurm(runs: Sequence[Run], folder: Path, jobs: int | None, parameters: Mapping[str, Any]) -> Ending:
    """Submit runs to SLURM as one array of jobs, through submitit, and wait for them.

    A job that ends without an exit status, for example at its time limit, has status 1; the same command continues
    it. ``parameters`` are those of submitit's AutoExecutor; ``cluster: local`` runs the jobs on this machine.

    Raises:
        ConfigError: If there is no submitit or no SLURM, or submitit does not know a parameter.
    """
    try:
        import cloudpickle
        import submitit
    except ImportError:
        raise ConfigError("--where slurm: needs submitit, pip install submitit") from None
    # Functions of this module are sent by value, because a job cannot import it.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    settings = {"name": folder.name, "slurm_array_parallelism": jobs, "cluster": "slurm", **parameters}
    try:
        executor = submitit.AutoExecutor(folder / "slurm", cluster=settings.pop("cluster"))
        executor.update_parameters(**{key: value for key, value in settings.items() if value is not None})
        with executor.batch():
            submitted = [executor.submit(execute, TRAIN, run.arguments, folder / run.name) for run in runs]
    except (RuntimeError, NameError, TypeError, ValueError, AssertionError, OSError) as error:
        raise ConfigError(f"--where slurm: {' '.join(str(error).split())}") from None
    return _ending(list(zip(submitted, runs, strict=True)))


def _ending(jobs: list[tuple[Any, Run]]) -> Ending:
    try:
        while jobs:
            for job, run in [pair for pair in jobs if pair[0].done()]:
                jobs.remove((job, run))
                yield run, 1 if job.exception() else job.result()
            time.sleep(0.2 if len(jobs) < 10 else 2)
    finally:
        for job, _ in jobs:
            job.cancel()


def write_sweeps(study: Study, project: str, folder: Path) -> list[Path]:
    """Write the files for ``wandb sweep``, one for each grid and alternative; return their paths.

    The values of a setting are parameters of the sweep. The settings of an alternative are in its command. The
    agents' runs are in new folders under ``runs/``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, grid in enumerate(study.grids):
        parameters = {axis.key: {"values": _values(axis.choices)} for axis in grid if axis.plain}
        for chosen in product(*(axis.choices.items() for axis in grid if not axis.plain)):
            labels = [study.name, f"include_{number}" if number else "", *(label for label, _ in chosen)]
            fixed = [argument for _, arguments in chosen for argument in arguments]
            content = {
                "name": "-".join(filter(None, labels)),
                "project": project,
                "program": str(TRAIN),
                "method": "grid",
                "command": ["${env}", "${interpreter}", "${program}", *fixed, "${args_no_hyphens}"],
                "parameters": parameters,
            }
            paths.append(folder / f"{content['name']}.yaml")
            paths[-1].write_text(yaml.safe_dump(content, sort_keys=False, width=1000))
    return paths


def _values(choices: Mapping[str, list[str]]) -> list[Any]:
    """Return the values of a setting: numbers, if the agent writes them as they are here, or else text."""
    texts = [argument.partition("=")[2] for (argument,) in choices.values()]
    natives = [yaml.safe_load(text) for text in texts]
    return [native if str(native) == text else text for native, text in zip(natives, texts, strict=True)]
