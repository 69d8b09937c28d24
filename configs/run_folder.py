"""The folder of a run, the checkpoint to resume from, and the saved configuration."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from configs.compose import CONFIG_FILE, compose, to_yaml
from configs.help import as_argument
from configs.launch import (
    FOLDER_VARIABLE,
    PROCESS_VARIABLE,
    check_launch,
    check_single_process,
    is_first_process,
)
from configs.run import Config
from configs.values import ConfigError, quote

CHECKPOINTS = "checkpoints"
REPORT = "report.json"
RUNS = Path("runs")
TESTED = ("seed", "data.", "model.", "agent.", "monitor.", "trainer.limit_test_batches", "trainer.precision")
"""Settings that the results of a test depend on, but for those of ``UNTESTED``."""
UNTESTED = ("data.batch_size", "data.root")
KEPT = (
    *(f"optim.{name}" for name in ("name", "lr", "weight_decay", "schedule", "rise_steps")),
    *("model.init", "model.t_max", "pretrain.", "warmup."),
)
"""Settings that the optimiser and the weights in a checkpoint have already."""


class RunFolder(NamedTuple):
    """The folder of a run, and the checkpoint to resume from or to test, if any."""

    path: Path
    checkpoint: Path | None


def open_run_folder(config: Config) -> RunFolder:
    """Make the folder of a run, save the configuration of a new run there, and find the checkpoint.

    A new folder under ``runs/`` is named after the time, the benchmark and the cell. The first process chooses it
    and tells the processes that Lightning starts. ``config.yaml`` leaves out ``run_dir`` and ``ckpt``.

    Raises:
        ConfigError: If ``run_dir`` already holds a run and ``ckpt`` is none of its checkpoints, or can't be written
            to; if the checkpoint does not exist; if a launcher starts several processes and ``run_dir`` is not
            given; or if the number of processes is wrong, see :func:`configs.launch.check_launch`.
    """
    check_launch(config, os.environ)
    checkpoint = _checkpoint(config)
    if "fit" not in config.stages and checkpoint is None:
        needs = "needs ckpt=PATH, or ckpt=last and a run_dir with a checkpoint"
        raise ConfigError(f"stages=[{config.stages[0]}]: {needs}")
    if not is_first_process(os.environ):
        folder = config.run_dir or os.environ.get(FOLDER_VARIABLE)
        if folder is None:
            raise ConfigError("run_dir=null: must be given if a launcher starts several processes")
        return RunFolder(Path(folder), _checkpoint_for(Path(folder), config, checkpoint))
    path = make_folder(Path(config.run_dir)) if config.run_dir else _new(config)
    if config.ckpt is None and (path / CONFIG_FILE).exists():
        raise _used(path)
    checkpoint = _checkpoint_for(path, config, checkpoint)
    os.environ[FOLDER_VARIABLE] = str(path.absolute())
    os.environ[PROCESS_VARIABLE] = str(os.getpid())
    if config.ckpt is None:
        _save_config(config, path)
    if config.ckpt == "last" and checkpoint is None:
        print(f"notice: no checkpoint in {path / CHECKPOINTS} yet, the run starts anew", file=sys.stderr)
    return RunFolder(path, checkpoint)


def go_on(config: Config, folder: RunFolder) -> None:
    """Save the configuration of a run that continues from a checkpoint, and print which settings changed.

    Call it when the checkpoint is known to fit. A run without training keeps the configuration of its training.

    Raises:
        ConfigError: If the file can't be written, or a setting has changed that a resumed training or a test in its
            folder can't change.
    """
    path = folder.path / CONFIG_FILE
    trains = "fit" in config.stages
    if config.ckpt is None:
        return
    reports = "test" in config.stages and not trains and (folder.path / REPORT).exists()
    changes = _changes(folder.checkpoint, config) if folder.checkpoint and (trains or reports) else {}
    for key, (was, now) in changes.items():
        if trains and key.startswith(KEPT):
            began = "with which the run that is resumed began; start a new run for another"
            raise ConfigError(f"{key}={now}: must be {was}, {began}")
        if reports and key.startswith(TESTED) and key not in UNTESTED:
            why = "the report would no longer be that of config.yaml; choose another run_dir"
            raise ConfigError(f"{key}={now}: must be {was}, or {why}")
    if not is_first_process(os.environ) or (path.exists() and not trains):
        return
    if changes and path.exists():
        text = ", ".join(f"{key}={now} (before: {was})" for key, (was, now) in changes.items())
        print(f"notice: the run continues with other settings, {text}", file=sys.stderr)
    _save_config(config, folder.path)


def give_up(config: Config, folder: RunFolder) -> None:
    """Free the folder of a run that could not begin."""
    if is_first_process(os.environ):
        with suppress(OSError):
            if config.ckpt is None:
                (folder.path / CONFIG_FILE).unlink()
            folder.path.rmdir()  # does nothing if there are other files


def newest_checkpoint(folder: Path) -> Path | None:
    """Return ``last.ckpt`` of a run folder, or else its newest checkpoint, or None."""
    last = folder / CHECKPOINTS / "last.ckpt"
    if last.is_file():
        return last
    found = (folder / CHECKPOINTS).glob("*.ckpt")
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def _checkpoint(config: Config) -> Path | None:
    if config.ckpt is None:
        return None
    if config.ckpt == "last" and config.run_dir is not None:
        return newest_checkpoint(Path(config.run_dir))
    if not os.path.isfile(config.ckpt):
        raise ConfigError(f"ckpt={quote(config.ckpt)}: must be last or a file; there is no such file")
    return Path(config.ckpt)


def _save_config(config: Config, folder: Path) -> None:
    """Write ``config.yaml``, whole or not at all; if two new runs use one folder, refuse the second."""
    path = folder / CONFIG_FILE
    text = _saved(config)
    unfinished = path.with_suffix(f".unfinished.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        if config.ckpt is None and _linked(unfinished, path):
            unfinished.unlink()
        else:
            unfinished.replace(path)
    except FileExistsError:
        unfinished.unlink()
        raise _used(folder) from None
    except OSError as error:
        raise ConfigError(f"{quote(path)}: can't be written: {error.strerror}") from None


def _linked(source: Path, path: Path) -> bool:
    """Give a file a second, new name by a hard link; without hard links, only create an empty file there."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links, as in a mounted cloud folder
        path.touch(exist_ok=False)
        return False
    return True


def _changes(checkpoint: Path, after: Config) -> dict[str, tuple[str, str]]:
    """Return the settings that differ from those of the run of a checkpoint, as they were and as they are."""
    if checkpoint.parent.name != CHECKPOINTS:
        return {}
    try:
        before = compose([str(checkpoint.parent.parent / CONFIG_FILE)])
    except ConfigError:  # there is none, or an earlier version has written it
        return {}
    given = after.model_dump()
    found: dict[str, tuple[str, str]] = {}
    for name, old in before.model_dump(exclude={"run_dir", "ckpt"}).items():
        new = given[name]
        pairs = {name: (old, new)}
        if isinstance(old, dict):
            pairs = {f"{name}.{key}": (old.get(key), new.get(key)) for key in old | new}
        found |= {
            key: (as_argument(was), as_argument(now)) for key, (was, now) in pairs.items() if was != now
        }
    return found


def _checkpoint_for(path: Path, config: Config, checkpoint: Path | None) -> Path | None:
    """Return the checkpoint that a run goes on from in a used folder, which is not to lose what it holds."""
    saved = path / CONFIG_FILE
    if config.ckpt in (None, "last") or not saved.exists():
        return checkpoint
    if checkpoint is not None and path.resolve() in checkpoint.resolve().parents:
        return checkpoint
    own = newest_checkpoint(path)
    if "fit" in config.stages and saved.read_text(encoding="utf-8") == _saved(config):
        return own or checkpoint  # the same command again, after a kill
    if "fit" in config.stages or ("test" in config.stages and own is not None):
        raise _used(path)
    return checkpoint


def _saved(config: Config) -> str:
    return to_yaml(config, leave_out=("run_dir", "ckpt"))


def make_folder(path: Path) -> Path:
    """Make the folder of ``run_dir`` if there is none, and return it.

    Raises:
        ConfigError: If it can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error.strerror) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise _unusable(path, "no permission to write")
    return path


def _new(config: Config) -> Path:
    check_single_process(os.environ)
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{config.data.name}_{config.model.cell}"
    path, number = RUNS / name, 1
    try:
        RUNS.mkdir(exist_ok=True)
        while True:
            with suppress(FileExistsError):
                path.mkdir()
                return path
            number += 1
            path = RUNS / f"{name}_{number}"
    except OSError as error:
        raise _unusable(path, error.strerror) from None


def _used(path: Path) -> ConfigError:
    return ConfigError(
        f"run_dir={quote(path)}: holds a run; resume it with ckpt=last or choose another folder"
    )


def _unusable(path: Path, why: str | None) -> ConfigError:
    return ConfigError(f"run_dir={quote(path)}: can't be used: {why}")
