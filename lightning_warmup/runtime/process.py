"""What a process of a run does first and last."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings

from torch import distributed


def prepare_process(parent: int | None) -> None:
    """Silence what does not concern a run, and have this process end soon after the one that started it.

    Without the latter, a collective over NCCL waits for a killed process until its timeout, half an hour.

    Args:
        parent: Process number of the one that started this one, None if it is no process of the run.
    """
    # Data are in memory, run folders are reused.
    for text in ("many workers", "exists and is not empty", "LeafSpec"):
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
    """Wait for all processes of a run, and leave them: one that ends while another still talks to it may abort."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
