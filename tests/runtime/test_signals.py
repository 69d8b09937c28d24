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
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from lightning_warmup.runtime.signals import Interruption

DDP = ["trainer.strategy=ddp", "trainer.devices=2"]
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NNODES": "1", "SLURM_NODELIST": "localhost", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}  # fmt: skip


class Witness(Callback):
    """Notes the handlers at every moment of a fit and a test."""

    def __init__(self) -> None:
        self.handlers: dict[str, list[object]] = {}

    def note(self, moment: str) -> None:
        self.handlers[moment] = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("warmup")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("sanity check" if trainer.sanity_checking else "validation")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("training")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("test")


@pytest.mark.parametrize("slurm", [False, True])
@pytest.mark.parametrize("sanity", [0, 1])
def test_no_handler_of_lightning_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm: bool, sanity: int
) -> None:
    """Lightning registers its own after ``on_fit_start``; if it comes to do so later, this fails."""
    for name, value in SLURM.items() if slurm else ():
        monkeypatch.setenv(name, value)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    interruption, witness = Interruption(tmp_path), Witness()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1, limit_train_batches=1, limit_val_batches=1,
        limit_test_batches=1, num_sanity_val_steps=sanity, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        callbacks=[interruption, witness],
    )  # fmt: skip
    try:
        trainer.fit(BoringModel())
        trainer.test(BoringModel(), verbose=False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    moments = {"warmup", "training", "validation", "test", *(["sanity check"] if sanity else [])}
    assert set(witness.handlers) == moments
    for moment, (term, usr1) in witness.handlers.items():
        assert getattr(term, "__self__", None) is interruption, moment
        if slurm:
            assert getattr(usr1, "__self__", None) is interruption, moment


def test_a_slurm_job_whose_time_is_over_is_queued_again_and_goes_on(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    """By the same command, which starts anew the first time."""
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
    assert errors.strip().splitlines()[-1] == f"error: ended by SIGUSR1; resume with run_dir={run} ckpt=last"
    assert not (run / "report.json").exists()
    assert "starts anew" in errors
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    _, errors = train(*command, **environment)
    assert "starts anew" not in errors
    assert train.report(run) == train.report(folder)
    assert train.metrics(run) == train.metrics(folder)


def test_a_run_that_is_interrupted_saves_and_goes_on(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = whole_run
    run = tmp_path / "run"
    process = train.start(f"run_dir={run}", *train.small)
    train.wait(process, lambda: list((run / "checkpoints").glob("best-epoch=0*")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == f"error: ended by SIGINT; resume with run_dir={run} ckpt=last"
    train(f"run_dir={run}", "ckpt=last")
    assert train.report(run) == train.report(folder)


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
