"""The command as the tests give it: in a process of its own, with small sizes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from forked import run_python

ROOT = Path(__file__).parent.parent
SMALL = [
    "data.seq_length=12", "data.train_size=96", "data.val_size=32", "data.test_size=64", "data.test_lengths=[20]",
    "data.batch_size=16", "model.hidden_size=8", "model.num_layers=2", "warmup.steps=4", "warmup.batch_size=16",
    "monitor.steps=40", "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.log_every_n_steps=2",
    "trainer.enable_model_summary=false", "tracking.wandb=disabled",
]  # fmt: skip


class Command:
    """``python train.py`` and what it leaves."""

    small = SMALL

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Starts the command."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )

    def wait(self, process: subprocess.Popen[str], happened: Callable[[], object]) -> None:
        """Waits until something has happened while a started command is running."""
        deadline = time.monotonic() + 120
        while not happened():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kills a started command, and the processes that it has started, without a warning."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def __call__(self, *arguments: object, status: int = 0, **environment: str) -> tuple[str, str]:
        """Runs the command; returns its output and its errors."""
        words = [str(ROOT / "train.py"), *map(str, arguments)]
        if environment:  # packages may read it when they are imported, so it is a process from the start
            process = self.start(*arguments, **environment)
            output, errors = process.communicate(timeout=280)
            done = subprocess.CompletedProcess(words, process.returncode, output, errors)
        else:
            done = run_python(words, Path.cwd())
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    def report(self, folder: Path) -> dict[str, Any]:
        """The report, without what differs from machine to machine and from folder to folder."""
        content = json.loads((folder / "report.json").read_text())
        content["checkpoint"] = Path(content["checkpoint"]).name
        del content["seconds"]
        return content

    def metrics(self, folder: Path) -> list[dict[str, str]]:
        """The rows of metrics.csv, in any order."""
        with (folder / "metrics.csv").open(newline="") as file:
            rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
