"""Which process of a run this one is, read from the launcher's environment, and whether the settings fit."""

from __future__ import annotations

from collections.abc import Mapping

from configs.run import Config
from configs.values import ConfigError

# Lightning starts the other processes of a run with the arguments and the environment of the first.
FOLDER_VARIABLE = "LIGHTNING_WARMUP_RUN_DIR"
PROCESS_VARIABLE = "LIGHTNING_WARMUP_PROCESS"
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
_SIZES = {"torchrun": "WORLD_SIZE", "srun": "SLURM_NTASKS"}


def is_first_process(environ: Mapping[str, str]) -> bool:
    """Return whether this is the only or the first process of its run."""
    return all(environ.get(name, "0") == "0" for name in _RANKS)


def started_by(environ: Mapping[str, str]) -> int | None:
    """Return the process id of the first process if it started this one, else None.

    A launcher that sets RANK, such as torchrun, starts every process itself.
    """
    if is_first_process(environ) or "RANK" in environ:
        return None
    return int(environ.get(PROCESS_VARIABLE, 0)) or None


def launcher(environ: Mapping[str, str]) -> str | None:
    """Return the launcher that started this process, ``torchrun``, ``srun`` or None; same rule as Lightning's."""
    if "TORCHELASTIC_RUN_ID" in environ:
        return "torchrun"
    if "SLURM_NTASKS" in environ and environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return "srun"
    return None


def check_launch(config: Config, environ: Mapping[str, str]) -> None:
    """Check that the launcher starts as many processes as the settings ask for, and that they can share batches.

    The number of devices behind ``auto`` and -1 is not known yet, so such a run may still fail later.

    Raises:
        ConfigError: If the numbers do not match.
    """
    processes, starter = config.trainer.processes, launcher(environ)
    if starter is None:
        _check_leftovers(environ, processes)
    elif processes is None:
        processes = int(environ[_SIZES[starter]])
    elif starter == "torchrun" and processes != int(environ["WORLD_SIZE"]):
        raise ConfigError(
            f"trainer.devices={config.trainer.devices!r}: must be auto, or devices x trainer.num_nodes must be "
            f"the {environ['WORLD_SIZE']} processes that torchrun starts"
        )
    for section, size in {"data": config.data.batch_size, **config.stage_batches()}.items():
        if size % (processes or 1):
            raise ConfigError(f"{section}.batch_size={size}: must be divisible by the {processes} processes")


def check_single_process(environ: Mapping[str, str]) -> None:
    """Refuse a run without ``run_dir`` if a launcher starts several processes: each would choose its own folder.

    Raises:
        ConfigError: If there are several.
    """
    starter = launcher(environ)
    if starter is not None and (size := environ.get(_SIZES[starter], "1")) != "1":
        reason = f"{_SIZES[starter]}={size} in the environment says that {starter} starts {size} processes"
        raise ConfigError(f"run_dir=null: must be given; {reason} (unset it if there is only one)")


def _check_leftovers(environ: Mapping[str, str], processes: int | None) -> None:
    """Refuse variables that another program left in the environment: Lightning would misread the rank.

    In a run with several processes, Lightning itself sets all of these but RANK; a user may set them by hand too.
    """
    by_hand = "LOCAL_RANK" in environ or "NODE_RANK" in environ
    alone = processes == 1 or (processes is None and not by_hand)
    expected = dict.fromkeys(_RANKS, "0") | {"WORLD_SIZE": "1"} if alone else {"RANK": "0"}
    for name, value in expected.items():
        if environ.get(name, value) != value:
            found = f"{name}={environ[name]} in the environment"
            raise ConfigError(f"{found}: must be unset, no launcher has started this process")
