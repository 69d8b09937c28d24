"""Python programs started from a server that has loaded other people's packages: that is most of a short run."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

# A program's own modules are imported anew, from its folder.
PRELOADED = ["lightning.pytorch", "torchmetrics", "pydantic", "omegaconf", "matplotlib.pyplot"]


def run_python(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS``, a script or ``-m MODULE``, in a process of its own, in ``folder``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with TemporaryDirectory() as streams:
        process = context.Process(target=_run, args=(list(arguments), folder, dict(os.environ), streams))
        process.start()
        process.join(280)
        if process.exitcode is None:
            process.kill()
            process.join()
        output, errors = (Path(streams, name).read_text() for name in ("output", "errors"))
    return subprocess.CompletedProcess(arguments, process.exitcode, output, errors)


def _run(arguments: list[str], folder: Path, environment: dict[str, str], streams: str) -> None:
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(Path(streams, name), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # as in a process that was not forked from here
    module = arguments[0] == "-m"
    sys.argv = arguments[1:] if module else arguments
    sys.path[:] = [str(folder if module else Path(arguments[0]).parent.resolve()), *_others(sys.path)]
    try:
        if module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def _others(path: list[str]) -> list[str]:
    """Return the entries that don't lead to this repository; a virtual environment may lie inside it."""
    tests = Path(__file__).parent
    return [entry for entry in path if entry not in (str(tests), str(tests.parent))]
