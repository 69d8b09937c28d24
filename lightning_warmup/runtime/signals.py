"""How a run ends on SIGTERM, on Ctrl-C, or on SIGUSR1, which SLURM sends before the time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn


class Interruption(Callback):
    """Ends a run on a signal, with the exit status of shells, 128 + its number.

    During training, all processes first agree and save between two batches, see :meth:`end_together`. At other
    times there is nothing to save, and the process that receives the signal ends at once; so it does on a second
    Ctrl-C. On SIGUSR1, sent by ``sbatch --signal=USR1@120``, the SLURM job is queued again.

    Lightning's own handlers do not work here: on SIGTERM it waits for a broadcast that the other processes do not
    take part in, and on SIGUSR1 it saves in the middle of a step. Lightning registers its handlers after
    ``on_fit_start``, so the next hooks replace them. At the end of a fit or a test, Lightning restores those of
    ``setup``.

    Args:
        folder: Folder of the run, for the message.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.received = 0
        self._training = False
        self._before: Any = signal.default_int_handler

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        self._listen()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        signal.signal(signal.SIGINT, self._before)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()
        self._training = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run if a signal arrived after the last save."""
        if self.received:
            self._end(self.received)
        self._training = False

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()

    def end_together(self, trainer: Trainer) -> None:
        """End all processes if one of them received a signal; every process calls this after a save.

        Raises:
            SystemExit: If one received a signal.
        """
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        agreed = int(trainer.strategy.reduce(received, reduce_op="max"))
        if agreed:
            # Lightning's launcher kills the first process when another one fails.
            self._end(agreed, failed=trainer.is_global_zero)

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        if SLURMEnvironment.detect():
            signal.signal(signal.SIGUSR1, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.received = not self.received, self.received or number
        if number == signal.SIGINT and not first:
            raise KeyboardInterrupt  # the user does not want to wait for the save
        if first and not self._training:
            self._end(number)

    def _end(self, number: int, failed: bool = True) -> NoReturn:
        if failed:
            further = f"; resume with run_dir={self._folder} ckpt=last" if self._training else ""
            print(f"\nerror: ended by {signal.Signals(number).name}{further}", file=sys.stderr)
        if number == signal.SIGUSR1:
            requeue()
        raise SystemExit(128 + number if failed else 0)


@rank_zero_only
def requeue() -> None:
    """Ask SLURM to run this job again with the same command."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        rank_zero_warn(f"The job could not be queued again: {error}")
