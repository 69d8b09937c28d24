"""How a run ends that is told to: by SIGTERM, or on SLURM by SIGUSR1 before its time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn


class Interruption(Callback):
    """Ends a run on a signal, with exit status 128 + its number as shells have it.

    A network that is being trained is saved first: all processes agree on it, between two batches, by
    :meth:`end_together`. At other times there is nothing to save, and the process that has the signal ends at
    once. On SIGUSR1, which ``sbatch --signal=USR1@120`` asks for, the SLURM job is queued again.
    """

    def __init__(self) -> None:
        self.received = 0
        self._training = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Handles the signals from here on, in place of Lightning.

        Its handler of SIGTERM waits for a broadcast that the other processes do not take part in, and that of
        SIGUSR1 saves in the middle of a step.
        """
        trainer._signal_connector.register_signal_handlers = self._listen  # type: ignore[method-assign]
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to save."""
        self._training = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is saved."""
        self._training = False
        if self.received:
            self._end(self.received)

    def end_together(self, trainer: Trainer) -> None:
        """Ends all processes if one of them was told to; called by all of them when they have saved.

        Raises:
            SystemExit: If so.
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
    """Has SLURM run this job again, by the same command."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        rank_zero_warn(f"The job is not queued again: {error}")


def end_with_parent(parent: int) -> None:
    """Ends this process soon after the one that has started it.

    A collective over NCCL might wait for a process that was killed until its timeout, half an hour.

    Args:
        parent: Number of the process that has started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
