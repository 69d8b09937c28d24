"""Which process of a run this one is, and what does not go with the processes that there are."""

from __future__ import annotations

import pytest

from configs.compose import compose
from configs.launch import (
    PROCESS_VARIABLE,
    check_launch,
    check_single_process,
    is_first_process,
    started_by,
)
from configs.values import ConfigError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "job"}
BY_LIGHTNING = {PROCESS_VARIABLE: "7", "LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}


def error_of(argv: list[str], environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_launch(compose(argv), environ)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        ([], {}),
        ([], {"RANK": "0", "WORLD_SIZE": "1"}),
        ([], TORCHRUN),
        (["trainer.devices=2"], TORCHRUN),
        ([], SRUN),
        (["trainer.devices=2"], BY_LIGHTNING),
        (["trainer.devices=0,1"], BY_LIGHTNING),
        (["trainer.num_nodes=2", "trainer.devices=2"], {"NODE_RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}),
        ([], {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "interactive"}),
        (["trainer.devices=3", "data.batch_size=30", "warmup.batch_size=30"], {}),
        (["trainer.devices=3", "data.batch_size=30", "warmup.enabled=false"], {}),
        (["trainer.devices=-1"], {}),
    ],
)  # fmt: skip
def test_processes_that_fit(argv: list[str], environ: dict[str, str]) -> None:
    check_launch(compose(argv), environ)


@pytest.mark.parametrize("argv", [[], ["trainer.devices=1"], ["trainer.devices=2"]])
@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
def test_what_another_program_has_left_is_named(name: str, argv: list[str]) -> None:
    if (name, argv) == ("WORLD_SIZE", ["trainer.devices=2"]):
        return  # Lightning sets it anew
    message = error_of(argv, {name: "2"})
    assert f"{name}=2 in the environment" in message
    assert "unset" in message


def test_a_rank_of_an_interactive_job_is_named() -> None:
    environ = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "3"}
    assert "SLURM_PROCID=3" in error_of([], environ)


def test_torchrun_and_the_devices_differ() -> None:
    message = error_of(["trainer.devices=1"], TORCHRUN)
    assert "trainer.devices='1'" in message
    assert "2 processes" in message


@pytest.mark.parametrize(
    ("argv", "environ", "key"),
    [
        (["trainer.devices=3"], {}, "data.batch_size=32"),
        (["trainer.devices=0,1,2", "data.batch_size=30"], {}, "warmup.batch_size=32"),
        (["trainer.num_nodes=3", "trainer.devices=1"], {}, "data.batch_size=32"),
        (["trainer.devices=2", "warmup.enabled=false", "pretrain.task=autoencode", "pretrain.batch_size=5"], {},
         "pretrain.batch_size=5"),
        (["data.batch_size=5"], TORCHRUN, "data.batch_size=5"),
        (["data.batch_size=5"], SRUN, "data.batch_size=5"),
    ],
)  # fmt: skip
def test_a_batch_that_the_processes_can_not_share(argv: list[str], environ: dict[str, str], key: str) -> None:
    message = error_of(argv, environ)
    assert message.startswith(f"{key}: must be divisible by the ")


@pytest.mark.parametrize(
    ("environ", "named"),
    [(TORCHRUN, "WORLD_SIZE=2"), (TORCHRUN | {"RANK": "0"}, "torchrun starts 2"), (SRUN, "SLURM_NTASKS=2")],
)
def test_processes_of_a_launcher_need_a_folder(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        check_single_process(environ)
    assert "run_dir" in str(caught.value)
    check_single_process({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "interactive"})


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_only_one_process_is_the_first(environ: dict[str, str], first: bool) -> None:
    assert is_first_process(environ) is first


def test_a_process_knows_which_one_of_its_run_has_started_it() -> None:
    left = {PROCESS_VARIABLE: "7"}
    assert started_by(left | {"LOCAL_RANK": "1"}) == 7
    assert started_by(left) is None
    assert started_by(left | {"RANK": "1", "LOCAL_RANK": "0", "GROUP_RANK": "1"}) is None  # torchrun's
