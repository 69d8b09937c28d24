"""Which process of a run this one is, by the environment that launchers set, and what that asks of the settings."""

from __future__ import annotations

from collections.abc import Mapping

from configs.run import Config
from configs.trainer import Trainer
from configs.values import ConfigError

# Lightning starts the other processes of a run with the same arguments and the environment of the first one.
FOLDER_VARIABLE = "LIGHTNING_WARMUP_RUN_DIR"
PROCESS_VARIABLE = "LIGHTNING_WARMUP_PROCESS"
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
_SIZES = {"torchrun": "WORLD_SIZE", "srun": "SLURM_NTASKS"}


def is_first_process(environ: Mapping[str, str]) -> bool:
    """Return whether this process is alone or the first of its run."""
    return all(environ.get(name, "0") == "0" for name in _RANKS)


def started_by(environ: Mapping[str, str]) -> int | None:
    """Return the number of the process of this run that has started this one, None if none has.

    A launcher that sets RANK, as torchrun, starts every process itself.
    """
    if is_first_process(environ) or "RANK" in environ:
        return None
    return int(environ.get(PROCESS_VARIABLE, 0)) or None


def launcher(environ: Mapping[str, str]) -> str | None:
    """Return which launcher, ``torchrun`` or ``srun``, has started this process; Lightning decides by the same."""
    if "TORCHELASTIC_RUN_ID" in environ:
        return "torchrun"
    if "SLURM_NTASKS" in environ and environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return "srun"
    return None


def check_launch(config: Config, environ: Mapping[str, str]) -> None:
    """Check that the processes of a run are those that its settings ask for, and can share its batches.

    How many devices `auto` and -1 are is not known yet, so that such a run may still be refused later.

    Raises:
        ConfigError: If they are not.
    """
    processes, starter = _processes(config.trainer), launcher(environ)
    if starter is None:
        _check_that_nothing_is_left(environ, processes)
    elif processes is None:
        processes = int(environ[_SIZES[starter]])
    elif starter == "torchrun" and processes != int(environ["WORLD_SIZE"]):
        raise ConfigError(
            f"trainer.devices={config.trainer.devices!r}: must be auto, or with trainer.num_nodes give the "
            f"{environ['WORLD_SIZE']} processes that torchrun starts"
        )
    for section, size in {"data": config.data.batch_size, **config.stage_batches()}.items():
        if size % (processes or 1):
            raise ConfigError(f"{section}.batch_size={size}: must be divisible by the {processes} processes")


def check_that_one_chooses_the_folder(environ: Mapping[str, str]) -> None:
    """Refuse a run without `run_dir` whose processes are started by a launcher, each on its own.

    Raises:
        ConfigError: If there are several.
    """
    starter = launcher(environ)
    if starter is not None and (size := environ.get(_SIZES[starter], "1")) != "1":
        told = f"by {_SIZES[starter]}={size} in the environment, {starter} starts {size} processes"
        raise ConfigError(f"run_dir=null: must be given; {told} (unset it where it starts one)")


def _processes(trainer: Trainer) -> int | None:
    """Return the number of processes that the settings ask for, None if only the hardware tells."""
    if trainer.devices in ("auto", "-1"):
        return None
    numbers = trainer.devices.rstrip(",").split(",")
    devices = len(numbers) if "," in trainer.devices else int(trainer.devices)
    return devices * trainer.num_nodes


def _check_that_nothing_is_left(environ: Mapping[str, str], processes: int | None) -> None:
    """Refuse what another program has left in the environment: Lightning would take this process for a later one.

    Lightning itself sets, and may be given by hand, all but RANK where a run has several processes.
    """
    by_hand = "LOCAL_RANK" in environ or "NODE_RANK" in environ
    alone = processes == 1 or (processes is None and not by_hand)
    expected = dict.fromkeys(_RANKS, "0") | {"WORLD_SIZE": "1"} if alone else {"RANK": "0"}
    for name, value in expected.items():
        if environ.get(name, value) != value:
            told = f"{name}={environ[name]} in the environment"
            raise ConfigError(f"{told}: must be unset, no launcher has started this process")
