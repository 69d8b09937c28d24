"""How a run ends on SIGTERM, or on SIGUSR1, which SLURM sends before its time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import NoReturn

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn


class Interruption(Callback):
    """Ends a run on a signal, with exit status 128 + its number as shells have it.

    In training, all processes first agree on it and save, between two batches: see :meth:`end_together`. At other
    times there is nothing to save, and the process that receives the signal ends at once. On SIGUSR1, which
    ``sbatch --signal=USR1@120`` asks for, the SLURM job is queued again.

    Lightning's handlers will not do: that of SIGTERM waits for a broadcast that the other processes do not take
    part in, and that of SIGUSR1 saves in the middle of a step. They are registered after ``on_fit_start``; the next
    hooks of a fit and of a test replace them. At the end of each, Lightning restores those of ``setup``.
    """

    def __init__(self) -> None:
        self.received = 0
        self._training = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._listen()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()
        self._training = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run if a signal arrived after the last save."""
        self._training = False
        if self.received:
            self._end(self.received)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()

    def end_together(self, trainer: Trainer) -> None:
        """End all processes if one of them received a signal; all of them call this after a save.

        Raises:
            SystemExit: If one did.
        """
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        agreed = int(trainer.strategy.reduce(received, reduce_op="max"))
        if agreed:
            # Lightning's launcher kills the first process as soon as another one fails.
            self._end(agreed, failed=trainer.is_global_zero)

    def _listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        if SLURMEnvironment.detect():
            signal.signal(signal.SIGUSR1, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.received = not self.received, self.received or number
        if first and not self._training:
            self._end(number)

    def _end(self, number: int, failed: bool = True) -> NoReturn:
        if failed:
            further = "; goes on with ckpt=last" if self._training else ""
            print(f"\nerror: ended by {signal.Signals(number).name}{further}", file=sys.stderr)
        if number == signal.SIGUSR1:
            requeue()
        raise SystemExit(128 + number if failed else 0)


@rank_zero_only
def requeue() -> None:
    """Have SLURM run this job again, by the same command."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        rank_zero_warn(f"The job is not queued again: {error}")
