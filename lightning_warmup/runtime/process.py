"""What each process of a run does first and last."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings

from torch import distributed


def prepare_process(parent: int | None) -> None:
    """Silence warnings that do not matter here, and end this process soon after the process that started it.

    Otherwise a process would wait half an hour, the timeout of NCCL, for one that was killed.

    Args:
        parent: Id of the process that started this one, None if that one is not part of the run.
    """
    # Data are in memory, run folders are reused, and metrics of processes are joined before they are logged.
    for text in (
        "many workers",
        "exists and is not empty",
        "LeafSpec",
        "recommended to use .self.log.*sync_dist",
        "all_gather. is deprecated",
    ):
        warnings.filterwarnings("ignore", f".*{text}.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip: For seamless" not in record.getMessage()
    )
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_process_group() -> None:
    """Wait for all processes of a run, then leave the group: a process that ends earlier may make another abort."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
