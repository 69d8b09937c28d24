"""The command line of a run: its options, errors of one line, and the exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.compose import compose, to_yaml
from configs.help import help_text
from configs.run import Config
from configs.run_folder import RunFolder, give_up, open_run_folder
from configs.values import ConfigError


def command(argv: Sequence[str], run: Callable[[Config, RunFolder], object]) -> int:
    """Compose the arguments, call ``run``, and return the exit status.

    It is 0 when done, 1 if the run failed, 2 for wrong arguments, and 130 if it was interrupted.
    """
    try:
        if "--help" in argv or "-h" in argv:
            show(help_text())
            return 0
        config = compose([argument for argument in argv if argument != "--cfg"])
        if "--cfg" in argv:
            show(to_yaml(config).removesuffix("\n"))
            return 0
        folder = open_run_folder(config)
    except ConfigError as error:
        return _fail(2, str(error))
    try:
        run(config, folder)
    except ConfigError as error:
        give_up(config, folder)
        return _fail(2, str(error))
    except KeyboardInterrupt:
        return _fail(130, f"interrupted; go on with run_dir={folder.path} ckpt=last")
    except Exception as error:
        first_line = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].removesuffix(": ")
        rank = os.environ.get("LOCAL_RANK", "0")  # each process has a file: one may fail because another did
        name = "error.txt" if rank == "0" else f"error.{rank}.txt"
        return _fail(1, first_line + _keep_trace(folder.path / name))
    return 0


def show(text: str) -> None:
    """Print, also for a reader that stops early, as in ``| head``."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Send what is still to be printed nowhere: its reader has stopped, and flushing it at the end would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(status: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def _keep_trace(path: Path) -> str:
    """Write the traceback of the current exception to a file, and say where it is."""
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:
        return f" (the traceback could not be saved: {error.strerror})"
    return f" (traceback in {path})"
