"""Where a run came from: commit, versions, machine, command."""

from __future__ import annotations

import json
import platform
import secrets
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from lightning_warmup.runtime.files import write_json

PACKAGES = ("torch", "lightning", "torchmetrics", "omegaconf", "wandb", "numpy")


def record(folder: Path, source: Path) -> dict[str, Any]:
    """Write ``provenance.json`` into a run folder; on resume, add this start to it.

    Args:
        folder: The run folder.
        source: A folder in the repository of the code.

    Returns:
        The content: the provenance of the first start, the ``id`` of the run, and under ``resumed`` the provenance
        of each later start.
    """
    path = folder / "provenance.json"
    if path.is_file():
        content = json.loads(path.read_text())
        content["resumed"].append(_provenance(source))
    else:
        content = _provenance(source) | {"id": secrets.token_hex(4), "resumed": []}
    rank_zero_only(write_json)(path, content)
    return content


def _provenance(source: Path) -> dict[str, Any]:
    changes = git(source, "status", "--porcelain")
    return {
        "commit": git(source, "rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
        "changes": None if changes is None else changes.splitlines(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in PACKAGES},
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
    }


def git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command, or None outside a repository or without git."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.rstrip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
