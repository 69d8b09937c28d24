"""The command around a run: its options, its mistakes in one line each, and its exit status."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.compose import compose, help_text, to_yaml
from configs.run import Config
from configs.run_folder import RunFolder, give_up, open_run_folder
from configs.values import ConfigError


def command(argv: Sequence[str], run: Callable[[Config, RunFolder], object]) -> int:
    """Run what the arguments describe, and return the exit status: 0 done, 1 failed, 2 a mistake in the arguments.

    Args:
        argv: Overlays, ``key=value``, ``--help`` and ``--cfg``.
        run: Called with the configuration and the folder of the run.
    """
    if "--help" in argv or "-h" in argv:
        print(help_text())
        return 0
    try:
        config = compose([argument for argument in argv if argument != "--cfg"])
        if "--cfg" in argv:
            print(to_yaml(config), end="")
            return 0
        folder = open_run_folder(config)
    except ConfigError as error:
        return _fail(2, str(error))
    try:
        run(config, folder)
    except ConfigError as error:
        give_up(config, folder)
        return _fail(2, str(error))
    except Exception as error:
        first_line = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].removesuffix(": ")
        return _fail(1, first_line + _keep_trace(folder.path / "error.txt"))
    return 0


def _fail(status: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def _keep_trace(path: Path) -> str:
    """Write the trace of the current exception, if that is possible, and say where it is."""
    try:
        path.write_text(traceback.format_exc())
    except OSError as error:
        return f" (its trace could not be kept: {error.strerror})"
    return f" (trace in {path})"
