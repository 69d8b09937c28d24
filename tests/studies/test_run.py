"""Studies: what they expand into, and how their runs are carried out."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import SMALL

from configs.compose import compose, to_yaml
from configs.run import Tracking
from lightning_warmup.runtime.files import Row, read_rows
from studies import launch
from studies.grid import read_study
from studies.results import add_rows, settings_in
from studies.run import check, main

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
STUDY = """
overlays: [over.yaml]
settings: {model: {hidden_size: 8}, tracking.wandb: disabled}
grid:
  data.name: [copy_first_input, denoising]
  data.seq_length: [20, 30]
  variant:
    plain: {warmup.enabled: false}
    warm: {warmup: {steps: 7, lr: 1e-3}}
include:
  - {model.cell: lstm, model.init: [chrono], optim.patience: [null, 3]}
seeds: [0, 1]
"""
# Stands for train.py: leaves what a run leaves, and fails where the seed is 1, unless it goes on from a checkpoint.
STUB = f"""
import json, os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from configs.compose import compose, to_yaml
config = compose(sys.argv[1:])
folder = Path(config.run_dir)
(folder / "config.yaml").write_text(to_yaml(config, leave_out=("run_dir", "ckpt")))
with (folder / "calls").open("a") as file:
    file.write(json.dumps([config.ckpt, os.environ.get("OMP_NUM_THREADS")]) + "\\n")
if config.seed == 1 and config.ckpt is None:
    sys.exit("error: it broke")
(folder / "report.json").write_text(json.dumps({{"seed": config.seed, "test": {{"loss": 0.5}}}}))
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file in an empty folder to work in; its runs are carried out by a stub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "over.yaml").write_text("model: {num_layers: 1}\n")
    (tmp_path / "studies" / "small.yaml").write_text(STUDY)
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(launch, "TRAIN", tmp_path / "stub.py")
    return tmp_path / "studies" / "small.yaml"


def calls(folder: Path) -> dict[str, list[tuple[str | None, str | None]]]:
    """How each run was called, by its name: ``ckpt`` and the number of threads."""
    return {
        path.parent.name: [tuple(json.loads(line)) for line in path.read_text().splitlines()]
        for path in folder.glob("*/calls")
    }


def rows_of(study: Path) -> list[Row]:
    """The rows of a study's table."""
    return read_rows(study.parent / "results" / f"{study.stem}.csv")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_composes(path: Path, tmp_path: Path) -> None:
    runs = list(read_study(path, ["seed=0"]).runs())
    assert len(runs) == len(check(runs, tmp_path)) > 1
    configs = [compose(run.arguments) for run in runs]
    assert {config.tracking.group for config in configs} == {path.stem}
    assert all(not config.trainer.enable_progress_bar for config in configs)


def test_a_study_is_every_combination_with_every_seed(study: Path) -> None:
    runs = {run.name: compose(run.arguments) for run in read_study(study).runs()}
    grid = itertools.product(
        ["copy_first_input", "denoising"], ["seq_length_20", "seq_length_30"], ["plain", "warm"]
    )
    combinations = ["-".join(labels) for labels in grid] + ["chrono-patience_null", "chrono-patience_3"]
    assert list(runs) == [f"{name}-seed_{seed}" for name in combinations for seed in (0, 1)]
    for name, config in runs.items():
        assert (config.model.hidden_size, config.model.num_layers) == (8, 1)
        assert str(config.seed) == name[-1]
    warm = runs["denoising-seq_length_30-warm-seed_1"]
    assert (warm.data.name, warm.warmup.objective.steps, warm.warmup.lr) == ("denoising", 7, 1e-3)
    chrono = runs["chrono-patience_3-seed_0"]
    assert (chrono.model.cell, chrono.model.init, chrono.optim.patience) == ("lstm", "chrono", 3)


@pytest.mark.parametrize(
    ("arguments", "count", "expected"),
    [
        (["variant=warm"], 8, {"warmup.lr": {1e-3}, "data.seq_length": {20, 30}}),
        (["variant=[warm]", "seed=1", "data.seq_length=[20]"], 2, {"seed": {1}, "data.seq_length": {20}}),
        (["optim.patience=3"], 2, {"model.init": {"chrono"}}),
        (["model.t_max=50"], 20, {"model.t_max": {50}}),
        (["model.hidden_size=10", "model.cell=mgu", "data.name=denoising"], 8, {"model.hidden_size": {10}}),
    ],
)
def test_arguments_pick_from_the_grid_or_hold_for_all(
    study: Path, arguments: list[str], count: int, expected: dict[str, set[object]]
) -> None:
    configs = [compose(run.arguments) for run in read_study(study, arguments).runs()]
    assert len(configs) == count
    for key, values in expected.items():
        section, _, name = key.rpartition(".")
        found = {getattr(getattr(config, section) if section else config, name) for config in configs}
        assert found == values


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (("seeds:", "sedes:"), [], ["small.yaml", "seeds"]),
        (("grid:", "gird:"), [], ["small.yaml", "grid"]),
        (("grid:", "seeds:"), [], ["small.yaml", "'seeds'", "once"]),
        (("over.yaml", "{a: b}"), [], ["small.yaml", "overlays"]),
        (("plain: {", "../plain: {"), [], ["small.yaml", "'../plain'"]),
        (("data.seq_length:", "seed: [3]\n  data.seq_length:"), [], ["small.yaml", "seeds"]),
        (("", ""), ["data.name=[denoising"], ["YAML"]),
        (("", ""), ["run_dir=~nosuchuser/x"], ["home folder"]),
        (("", ""), ["--where", "wandb", "run_dir=stub.py/x"], ["run_dir='stub.py/x'"]),
        (("seeds: [0, 1]", "seeds: 3"), [], ["seeds", "list"]),
        (("hidden_size: 8", "hidden_sise: 8"), [], ["hidden_sise", "model.hidden_size"]),
        (("[20, 30]", "[20, x]"), [], ["first_input-x-plain", "data.seq_length='x'", "whole number"]),
        (("[20, 30]", "[]"), [], ["small.yaml", "data.seq_length", "empty"]),
        (("plain: {warmup.enabled: false}", "plain: 3"), [], ["variant", "alternatives"]),
        (("seq_length: [20, 30]", "seq_length: [20"), [], ["small.yaml", "YAML"]),
        (("warm: {", "plan b: {warmup.enabled: false}\n    warm: {"), [], ["plan b", "plain", "same run"]),
        (("model.cell: lstm", "data.name: [denoising]"), ["seed=7"], ["seed=7", "seed_0, seed_1"]),
        ((", optim.patience: [null, 3]}", "}\n  - {model.init: [chrono]}"), [], ["chrono-seed_0", "named"]),
        (("", ""), ["model.sell=gru"], ["model.cell"]),
        (("", ""), ["hello"], ["'hello'", "key=value"]),
        (("", ""), ["--where", "mars"], ["mars", "slurm"]),
        (("", ""), ["--jobs", "0"], ["--jobs 0"]),
        (("", ""), ["run_dir=stub.py"], ["run_dir='stub.py'"]),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(
    study: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    arguments: list[str],
    words: list[str],
) -> None:
    text = study.read_text()
    assert change[0] in text
    study.write_text(text.replace(*change, 1))
    assert main([str(study), *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1
    for word in words:
        assert word in errors
    assert not Path("runs").exists()


def test_a_failed_run_is_reported_and_goes_on_when_it_is_asked_for_again(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    arguments = [str(study), "--jobs", "2", "data.name=denoising", "data.seq_length=20"]
    folder = Path("runs", "small")
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert errors.count("failed: denoising-seq_length_20-warm-seed_1") == 2
    assert "error: it broke" in errors
    assert "4/4" in errors
    fresh = [(None, "1")]
    assert calls(folder) == {
        f"denoising-seq_length_20-{name}-seed_{seed}": fresh for name in ("plain", "warm") for seed in (0, 1)
    }

    main([*arguments, "--list"])
    states = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert states == ["finished", "begun", "finished", "begun"]

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert main(arguments) == 0
    for name, called in calls(folder).items():
        assert called == (fresh if name.endswith("0") else [*fresh, ("last", "3")])
    assert "4 of 4 runs finished, in runs/small" in capsys.readouterr().out
    assert sorted(row["run"] for row in rows_of(study)) == sorted(calls(folder))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_study_ends_its_runs(study: Path, number: signal.Signals) -> None:
    Path("stub.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    code = (
        "import runpy, sys; from pathlib import Path; from studies import launch\n"
        "launch.TRAIN = Path('stub.py'); runpy.run_module('studies.run', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(study), "--jobs", "2", "run_dir=there"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        # A shell's background jobs ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while sum(path.stat().st_size > 0 for path in Path("there").glob("*/output.txt")) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == b"interrupted; the same command goes on from here"
    for path in Path("there").glob("*/output.txt"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


def test_a_folder_with_a_run_of_other_settings_is_refused(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(study), "seed=0", "optim.patience=3", "run_dir=there"]
    assert main(arguments) == 0
    assert main([*arguments, "tracking.tags=[again]"]) == 0
    assert main([*arguments, "optim.lr=0.1"]) == 2
    assert "there/chrono-patience_3-seed_0" in capsys.readouterr().err


def test_slurm_through_the_local_executor_of_submitit(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    study.write_text(study.read_text() + "slurm: {cluster: local, timeout_min: 3}\n")
    status = main([str(study), "--where", "slurm", "--jobs", "2", "optim.patience=3"])
    assert status == 1
    assert set(calls(Path("runs", "small"))) == {"chrono-patience_3-seed_0", "chrono-patience_3-seed_1"}
    output, errors = capsys.readouterr()
    assert "1 of 2 runs finished" in output
    assert "PYTHONPATH" not in os.environ
    assert [row["run"] for row in rows_of(study)] == ["chrono-patience_3-seed_0"]
    assert "failed: chrono-patience_3-seed_1: error: it broke" in errors


@pytest.mark.parametrize(
    ("addition", "missing", "words"),
    [
        ("", True, "pip install submitit"),
        ("", False, "srun"),
        ("slurm: {cluster: local, timeout: 3}\n", False, "timeout"),
    ],
)
def test_without_slurm_one_line_says_so(
    study: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    addition: str,
    missing: bool,
    words: str,
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, "submitit", None)
    else:
        pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    study.write_text(study.read_text() + addition)
    assert main([str(study), "--where", "slurm"]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1


def agent_commands(path: Path) -> list[list[str]]:
    """The commands that an agent of Weights & Biases makes of a sweep file, with its own formatter."""
    from wandb.sdk.launch.sweeps.utils import (
        create_sweep_command,
        create_sweep_command_args,
        load_sweep_config,
    )

    sweep = load_sweep_config(str(path))
    assert sweep is not None
    assert sweep["method"] == "grid"
    names, values = list(sweep["parameters"]), [p["values"] for p in sweep["parameters"].values()]
    commands = []
    for choice in itertools.product(*values):
        arguments = {name: {"value": value} for name, value in zip(names, choice, strict=True)}
        macros = create_sweep_command_args({"args": arguments})
        macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
        words: list[str] = []
        for word in map(str, create_sweep_command(list(sweep["command"]))):
            words += macros[word[2:-1]] if word.startswith("${") and word.endswith("}") else [word]
        commands.append(words)
    return commands


def test_the_agents_of_weights_and_biases_make_the_same_runs(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["seed=[0,1]", "trainer.max_epochs=3"]
    assert main([str(study), "--where", "wandb", "run_dir=there", *arguments]) == 0
    files = [Path(line.removeprefix("wandb sweep ")) for line in capsys.readouterr().out.splitlines()]
    assert all(yaml.safe_load(file.read_text())["project"] == Tracking().project for file in files)
    commands = [command for file in files for command in agent_commands(file)]
    assert {tuple(command[:3]) for command in commands} == {("/usr/bin/env", "python", str(launch.TRAIN))}

    expected = [
        compose([*run.arguments, "tracking.wandb=online"]) for run in read_study(study, arguments).runs()
    ]
    assert sorted(repr(compose(command[3:])) for command in commands) == sorted(map(repr, expected))


def test_a_study_of_real_runs(tmp_path: Path) -> None:
    settings = dict(argument.split("=", 1) for argument in SMALL)
    settings = {key: yaml.safe_load(value) for key, value in settings.items()}
    content = {"settings": settings, "grid": {"model.cell": ["gru"]}, "seeds": [3]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "studies.run", tmp_path / "tiny.yaml", f"run_dir={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "gru-seed_3" / "report.json").read_text())
    assert report["seed"] == 3
    (row,) = read_rows(tmp_path / "results" / "tiny.csv")
    assert (row["study"], row["run"], row["seed"]) == ("tiny", "gru-seed_3", "3")
    assert float(row["test.loss"]) == pytest.approx(report["test"]["loss"], rel=1e-5)
    with np.load(tmp_path / "out" / "gru-seed_3" / "portraits" / "warmup.npz") as portrait:
        assert float(row["vaa_at.full"]) == pytest.approx(portrait["vaa"][-1], rel=1e-5)
    assert float(row["vaa.after"]) == pytest.approx(report["vaa"]["after"], rel=1e-5)
    assert {"curve.loss.1", "curve.loss.last", "seconds.fit"} <= set(row)
    assert "trivial predictor" in (tmp_path / "out" / "gru-seed_3" / "output.txt").read_text()


def test_a_row_counts_as_finished_only_if_it_is_asked_for(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(study), "seed=0", "optim.patience=3"]
    assert main(arguments) == 0
    shutil.rmtree("runs")
    assert main([*arguments, "--reuse", "tracking.tags=[again]"]) == 0
    assert calls(Path("runs", "small")) == {}
    capsys.readouterr()
    assert main([*arguments, "--reuse", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == ["finished  chrono-patience_3-seed_0"]
    assert main([*arguments, "--list"]) == 0
    assert capsys.readouterr().out.startswith("new")
    # Computed again, the row takes the place of the other one.
    assert main(arguments) == 0
    assert list(calls(Path("runs", "small"))) == ["chrono-patience_3-seed_0"]
    assert len(rows_of(study)) == 1


def test_a_list_that_nobody_reads_to_its_end_is_no_error(study: Path) -> None:
    command = f"{sys.executable} -m studies.run {study} --list | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "new       copy_first_input-seq_length_20-plain-seed_0\n"


def test_a_run_whose_row_was_lost_gets_it_when_the_study_starts(study: Path) -> None:
    arguments = [str(study), "seed=0", "data.name=denoising"]
    assert main(arguments) == 0
    whole = rows_of(study)
    assert len(whole) == 4
    # As after a kill between the end of a run and its row, and in the middle of a write.
    table = study.parent / "results" / "small.csv"
    table.unlink()
    add_rows(table, whole[:1])
    table.with_suffix(".tmp").write_text("study,ru")
    assert main([*arguments, "--list"]) == 0
    assert rows_of(study) == whole[:1]
    assert main(arguments) == 0
    assert sorted(row["run"] for row in rows_of(study)) == sorted(row["run"] for row in whole)
    assert all(len(called) == 1 for called in calls(Path("runs", "small")).values())


def test_a_table_of_another_kind_is_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study.parent / "results").mkdir()
    (study.parent / "results" / "small.csv").write_text("a,b\n1,2\n")
    assert main([str(study)]) == 2
    assert "small.csv': is no table of results" in capsys.readouterr().err


def test_the_rows_of_runs_in_the_home_folder_are_kept(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(study.parent / "home"))
    main([str(study), "run_dir=~/mine", "seed=0"])
    assert {row["seed"] for row in read_rows(study.parent / "results" / "small.csv")} == {"0"}


def test_a_setting_may_be_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "played.yaml"
    given = "{delay: 8, name: 'a, 8', n: '8'}"
    path.write_text(f"settings: {{data.name: gym, data.env_kwargs: {given}}}\ngrid: {{model.cell: [gru]}}\n")
    (run,) = read_study(path).runs()
    config = compose(run.arguments)
    assert config.data.env_kwargs == {"delay": 8, "name": "a, 8", "n": "8"}
    assert compose(shlex.split(settings_in(to_yaml(config)))).data.env_kwargs == config.data.env_kwargs


def test_parameters_of_slurm_may_be_nested(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    given = "{timeout_min: 5, slurm_additional_parameters: {gpus: 2}, slurm_setup: ['[ -f x ] && . x']}"
    path.write_text(f"slurm: {given}\ngrid: {{seed: [0]}}")
    wanted = {
        "timeout_min": 5,
        "slurm_additional_parameters": {"gpus": 2},
        "slurm_setup": ["[ -f x ] && . x"],
    }
    assert read_study(path).slurm == wanted


def test_a_row_alone_repeats_its_run(study: Path) -> None:
    assert main([str(study), "seed=0"]) == 0
    assert len(rows_of(study)) == 10
    for row in rows_of(study):
        config = compose([*shlex.split(row["settings"]), f"seed={row['seed']}"])
        saved = compose([str(Path("runs", "small", row["run"], "config.yaml"))])
        assert (config.data, config.model, config.warmup) == (saved.data, saved.model, saved.warmup)
        assert settings_in(to_yaml(config)) == row["settings"]


def test_processes_that_write_at_once_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "results" / "table.csv"
    code = (
        "import sys; from pathlib import Path; from studies.results import add_rows\n"
        "path, name = sys.argv[1:]\n"
        "for i in range(20): add_rows(Path(path), [{'settings': name, 'seed': str(i), f'a.{i}': '1'}])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, name], env=environment) for name in ("a", "b")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    rows = read_rows(path)
    assert len(rows) == 40
    assert all(row[f"a.{row['seed']}"] == "1" for row in rows)
    assert [path] == list(path.parent.iterdir())
