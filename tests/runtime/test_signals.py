"""Signals: what a run saves when it is told to end, and how a rank that dies ends the others."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command import Command

DDP = ["trainer.strategy=ddp", "trainer.devices=2"]
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NNODES": "1", "SLURM_NODELIST": "localhost", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}  # fmt: skip


def test_a_slurm_job_whose_time_is_over_is_queued_again_and_goes_on(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    """By the same command, which starts afresh the first time."""
    folder, _ = whole_run
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/requeued\n")
    scontrol.chmod(0o755)
    environment = SLURM | {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    run = tmp_path / "run"
    command = [f"run_dir={run}", *train.small, "ckpt=last"]
    process = train.start(*command, **environment)
    train.wait(process, lambda: list((run / "checkpoints").glob("best-epoch=0*")))
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1
    assert errors.strip().splitlines()[-1] == "error: ended by SIGUSR1; goes on with ckpt=last"
    assert not (run / "report.json").exists()
    assert "starts afresh" in errors
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    _, errors = train(*command, **environment)
    assert "starts afresh" not in errors
    assert train.report(run) == train.report(folder)
    assert train.metrics(run) == train.metrics(folder)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The other ranks, which the first one has started by the same command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"train.py" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def is_running(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("moment", "rank", "number"),
    [
        ("warmup", 0, signal.SIGKILL),
        ("training", 1, signal.SIGTERM),
    ],
)
def test_a_rank_that_ends_ends_the_others(
    train: Command, tmp_path: Path, moment: str, rank: int, number: signal.Signals
) -> None:
    """With an error, within a minute; a rank that is told to end saves with the others."""
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    lasting = "warmup.steps=9999" if moment == "warmup" else "trainer.max_epochs=9999"
    process = train.start(f"run_dir={run}", *train.small, *DDP, lasting)
    log = run / "metrics.csv"
    train.wait(process, last.exists if moment == "training" else lambda: log.exists() and log.stat().st_size)
    (other,) = children(process)
    try:
        os.kill((process.pid, other)[rank], number)
        begin = time.monotonic()
        _, errors = process.communicate(timeout=60)  # until no process of the run holds its output
        while is_running(other):
            assert time.monotonic() < begin + 60
            time.sleep(0.05)
    finally:
        train.kill(process)
    assert process.returncode
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert errors.count("error: ended by SIGTERM") == 1


PARENT = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
sys.stdin.read()
"""
CHILD = """
import sys, time
from lightning_warmup.runtime.process import prepare_process
prepare_process(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""


def test_a_process_ends_with_the_one_that_started_it() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    assert parent.communicate(timeout=60)[0] == ""  # the child held it open


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_a_full_disk_ends_a_run_in_one_line_and_loses_nothing(train: Command, tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    process = train.start(
        f"run_dir={tmp_path / 'run'}", *train.small, "trainer.max_epochs=9999", "ckpt_interval=0"
    )
    train.wait(process, last.exists)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))  # no room in any file
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip().splitlines()[-1].startswith("error: OSError: [Errno 27] File too large")
    assert torch.load(last, weights_only=True)["global_step"] >= 0
