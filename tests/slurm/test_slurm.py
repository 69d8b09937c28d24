"""SLURM itself: a study as an array that loses a job and the controller, and a run that is queued again.

The cluster is one of Debian's packages, started in a temporary folder: see ``cluster.py``.
"""

from __future__ import annotations

import csv
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from command import SMALL

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Cluster, cluster, why_not

ROOT = Path(__file__).parents[2]
TOOK = ("seconds", "commit", "dirty")
"""Columns in which two machines differ."""

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def command(study: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "studies.run", str(study), "--jobs", "2", *arguments]


def write_study(path: Path) -> Path:
    """A study of eight runs: two cells, without and with a warmup, two seeds."""
    settings = {key: yaml.safe_load(value) for key, value in (word.split("=", 1) for word in SMALL)}
    grid = {"model.cell": ["gru", "mgu"], "warmup.enabled": [False, True], "seed": [0, 1]}
    content = {"settings": settings, "grid": grid, "slurm": {"timeout_min": 9, "cpus_per_task": 1}}
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(content))
    return path


def table(study: Path) -> list[dict[str, str]]:
    """The rows of a study by name, without what differs between machines."""
    with (study.parent / "results" / "eight.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return sorted(
        ({name: value for name, value in row.items() if not name.startswith(TOOK)} for row in rows),
        key=lambda row: row["run"],
    )


def wait(what: str, happened: Callable[[], object], process: subprocess.Popen[str], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"{what}: the command has ended: {process.communicate()}"
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def running(slurm: Cluster, folder: Path) -> list[str]:
    """The SLURM job of each run that is going on, and has begun."""
    jobs = slurm.run("squeue", "-h", "-t", "RUNNING", "-o", "%A").split()
    begun = {path.parent for path in folder.glob("*/config.yaml")}
    return jobs if any(not (run / "report.json").exists() for run in begun) else []


def lose_the_controller(slurm: Cluster) -> None:
    """Kill the controller when it has saved which jobs are running, which it does every five seconds."""
    saved, since = slurm.folder / "state" / "job_state", time.time()
    slurm.wait("the controller's state", lambda: saved.exists() and saved.stat().st_mtime > since)
    slurm.kill_controller()
    slurm.start_controller()


def test_a_study_survives_a_killed_job_and_a_killed_controller(slurm: Cluster, tmp_path: Path) -> None:
    study = write_study(tmp_path / "array" / "eight.yaml")
    folder = tmp_path / "slurm"
    arguments = command(study, "--where", "slurm", f"run_dir={folder}")
    options = {"cwd": ROOT, "env": slurm.environment, "text": True}
    first = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    wait("a run has begun", lambda: running(slurm, folder), first, 240)
    lose_the_controller(slurm)
    wait("a run has begun", lambda: running(slurm, folder), first, 240)
    slurm.run("scancel", "--signal=KILL", "--full", running(slurm, folder)[0])
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 1, errors
    failed = re.findall(r"^failed: (\S+), see", errors, re.MULTILINE)
    assert len(failed) == 1, errors

    again = subprocess.run(arguments, capture_output=True, **options)
    assert again.returncode == 0, again.stderr
    assert f"8 of 8 runs finished, in {folder}" in again.stdout
    assert len(table(study)) == 8

    local = write_study(tmp_path / "local" / "eight.yaml")
    alone = subprocess.run(command(local, f"run_dir={tmp_path / 'here'}"), cwd=ROOT, capture_output=True)
    assert alone.returncode == 0, alone.stderr
    assert table(study) == table(local)


def test_a_run_is_queued_again_before_its_time_is_over(slurm: Cluster, tmp_path: Path) -> None:
    """SLURM looks at the time every 30 seconds: a minute less 10 seconds is over within 50."""
    endless = [word for word in SMALL if "max_epochs" not in word] + ["trainer.max_epochs=100000"]
    endless.append("trainer.enable_progress_bar=false")
    run = [sys.executable, "train.py", *endless, f"run_dir={tmp_path / 'run'}", "ckpt=last"]
    options = ("--time=1", "--signal=USR1@10", f"--output={tmp_path / 'out'}", "--open-mode=append")
    job = slurm.run(
        "sbatch", "--parsable", *options, f"--chdir={ROOT}", "--wrap", f"srun {shlex.join(run)}"
    ).strip()
    state = lambda: slurm.run("scontrol", "-o", "show", "job", job)  # noqa: E731
    output = lambda: (tmp_path / "out").read_text() if (tmp_path / "out").exists() else ""  # noqa: E731
    ended = f"error: ended by {signal.SIGUSR1.name}; resume with run_dir="
    slurm.wait("the run ends", lambda: ended in output(), 120)
    slurm.wait("the job is queued again", lambda: "=PENDING" in state())
    # What is queued again waits for two minutes.
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    slurm.wait("the job runs again", lambda: "Restarts=1" in state() and "=RUNNING" in state(), 240)
    goes_on = lambda: re.search(r"Restor(ing|ed) .*last", output())  # noqa: E731
    slurm.wait("it goes on from its checkpoint", goes_on, 120)
    slurm.run("scancel", job)
