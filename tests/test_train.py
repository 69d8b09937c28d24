"""The command as a user gives it, in processes of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import Command

from lightning_warmup.proofs.__main__ import main as recheck

ROOT = Path(__file__).parent.parent


def test_a_run_leaves_its_folder_and_ends_with_a_table(train: Command, whole_run: tuple[Path, str]) -> None:
    folder, output = whole_run
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "provenance.json", "metrics.csv", "checkpoints", "report.json"} <= names
    assert {"learning_curve.png", "warmup.png"} <= names
    content = json.loads((folder / "report.json").read_text())
    for figure in ("vaa", "rest"):
        assert set(content[figure]) == {"before", "after", "final"}
        assert all(0 <= value <= 1 for value in content[figure].values())
    assert content["vaa"]["before"] >= 1 / 64
    for shares in content["attractors"].values():
        assert sum(shares.values()) == 1
    assert set(content["spectral_radius"]) == {"before", "after", "final"}
    assert set(content["test"]) == {"loss"}
    assert set(content["test_at_length"]) == {"20"}
    assert set(content["seconds"]) == {"warmup", "fit", "test"}
    assert all(value > 0 for value in content["seconds"].values())
    assert content["epochs"] == 2
    assert content["stages"]["warmup"]["steps"] == content["stages"]["warmup"]["steps_taken"] == 4
    assert content["stages"]["warmup"]["max_stabilization"] == 200
    assert content["seed"] == 0
    assert Path(content["checkpoint"]).is_file()
    for text in ("VAA of 64 after 40 steps", "trivial predictor 1", "checkpoint", str(folder)):
        assert text in output
    origin = json.loads((folder / "provenance.json").read_text())
    assert {"commit", "dirty", "versions", "command"} <= set(origin)
    assert len([row for row in train.metrics(folder) if "warmup/step" in row]) == 4
    assert len([row for row in train.metrics(folder) if "val/loss" in row]) == 2


def test_the_saved_configuration_gives_the_same_run(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = whole_run
    train(folder / "config.yaml", f"run_dir={tmp_path / 'again'}")
    assert train.report(tmp_path / "again") == train.report(folder)
    assert train.metrics(tmp_path / "again") == train.metrics(folder)


def test_another_seed_gives_another_run_on_the_same_test_split(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = whole_run
    of_control_alone = "agent.target_update=5"
    train(f"run_dir={tmp_path / 'other'}", *train.small, "seed=1", "warmup.enabled=false", of_control_alone)
    other = train.report(tmp_path / "other")
    assert other["test"] != train.report(folder)["test"]
    assert other["vaa"]["after"] is None


def test_a_checkpoint_can_be_tested_alone(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = whole_run
    whole = train.report(folder)
    checkpoint = folder / "checkpoints" / whole["checkpoint"]
    train(folder / "config.yaml", "stages=[test]", f"ckpt={checkpoint}", f"run_dir={tmp_path / 'test'}")
    alone = train.report(tmp_path / "test")
    for key in ("test", "test_at_length", "vaa", "rest", "val"):
        assert alone[key] == whole[key]


def test_a_used_run_folder_is_refused_and_a_finished_run_is_only_tested_again(
    train: Command, whole_run: tuple[Path, str]
) -> None:
    folder, _ = whole_run
    before = train.report(folder), train.metrics(folder)
    _, errors = train(f"run_dir={folder}", *train.small, status=2)
    assert "run_dir=" in errors
    train(f"run_dir={folder}", "ckpt=last")
    assert train.report(folder) == before[0]
    assert [row for row in train.metrics(folder) if "val/loss" in row] == [
        row for row in before[1] if "val/loss" in row
    ]


@pytest.mark.parametrize("moment", ["warmup", "mid-epoch", "between epochs"])
def test_a_killed_run_goes_on_with_the_same_numbers(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path, moment: str
) -> None:
    """Kills the run with SIGKILL, resumes it, and compares every figure that it leaves."""
    folder, _ = whole_run
    run, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    steps = {"warmup": "200", "mid-epoch": "4", "between epochs": "4"}[moment]
    reference = folder
    interval = "ckpt_interval=0" if moment == "mid-epoch" else "ckpt_interval=60"
    arguments = [f"run_dir={run}", *train.small, interval]
    process = train.start(*arguments, f"warmup.steps={steps}" if moment == "warmup" else "seed=0")
    if moment == "warmup":
        metrics_file = run / "metrics.csv"
        train.wait(process, lambda: metrics_file.is_file() and metrics_file.stat().st_size > 0)
        assert not last.exists()
    elif moment == "mid-epoch":
        saved: set[int] = set()

        def saves() -> int:
            if last.exists():
                saved.add(last.stat().st_mtime_ns)
            return len(saved)

        train.wait(process, lambda: saves() >= 6)  # in the second of two epochs of six steps
    else:
        train.wait(process, lambda: list(last.parent.glob("best-epoch=0*")))
    train.kill(process)
    assert not (run / "report.json").exists()

    _, notice = train(f"run_dir={run}", "ckpt=last", *(["warmup.steps=4"] if moment == "warmup" else []))
    assert ("starts anew" in notice) == (moment == "warmup")
    assert train.report(run) == train.report(reference)
    assert train.metrics(run) == train.metrics(reference)


def test_a_run_that_fails_says_so_in_one_line_and_keeps_the_trace(train: Command, tmp_path: Path) -> None:
    _, errors = train(
        f"run_dir={tmp_path / 'run'}", *train.small, "warmup.lr=3e37", "warmup.steps=20", status=1
    )
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: WarmupDiverged: warmup diverged at step")
    assert "lr=3e+37" in last
    assert "Traceback" not in errors
    assert "WarmupDiverged" in (tmp_path / "run" / "error.txt").read_text()


def test_a_training_that_diverges_fails(train: Command, tmp_path: Path) -> None:
    _, errors = train(
        f"run_dir={tmp_path / 'run'}", *train.small, "optim.lr=1e30", "tracking.wandb=offline", status=1
    )
    assert "training diverged at step" in errors.strip().splitlines()[-1]
    (stored,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert b"val/loss" not in stored.read_bytes()
    assert not (tmp_path / "run" / "report.json").exists()


@pytest.mark.parametrize(
    "arguments", [["trainer.fast_dev_run=true"], ["trainer.precision=64-true"], ["stages=[fit]"]]
)
def test_other_ways_to_run(train: Command, tmp_path: Path, arguments: list[str]) -> None:
    train(f"run_dir={tmp_path / 'run'}", *train.small, "data.test_size=10", *arguments)
    content = json.loads((tmp_path / "run" / "report.json").read_text())
    if "fast" not in arguments[0]:
        assert content["vaa_sequences"] == 10


def test_mixed_precision_is_for_training_alone(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    """What is measured, and the warmup, are in float32."""
    folder, _ = whole_run
    train(f"run_dir={tmp_path / 'run'}", *train.small, "trainer.precision=bf16-mixed")
    mixed, full = train.report(tmp_path / "run"), train.report(folder)
    for figure in ("vaa", "rest", "residual"):
        for moment in ("before", "after"):
            assert mixed[figure][moment] == full[figure][moment]
    assert mixed["val"] != full["val"]
    assert mixed["val"] == pytest.approx(full["val"], rel=0.05)


def test_gradients_that_are_accumulated_are_not_lost_by_a_kill(train: Command, tmp_path: Path) -> None:
    accumulate = ["trainer.accumulate_grad_batches=4", "ckpt_interval=0"]
    train(f"run_dir={tmp_path / 'a'}", *train.small, *accumulate)
    last, saved = tmp_path / "b" / "checkpoints" / "last.ckpt", set()

    def saves() -> int:
        if last.exists():
            saved.add(last.stat().st_mtime_ns)
        return len(saved)

    process = train.start(f"run_dir={tmp_path / 'b'}", *train.small, *accumulate)
    train.wait(process, lambda: saves() >= 3)
    train.kill(process)
    train(f"run_dir={tmp_path / 'b'}", "ckpt=last")
    assert train.report(tmp_path / "b") == train.report(tmp_path / "a")


def test_a_run_that_stopped_early_stays_stopped(train: Command, tmp_path: Path) -> None:
    run = f"run_dir={tmp_path / 'run'}"
    train(run, *train.small, "optim.patience=1", "optim.min_delta=9", "trainer.max_epochs=5")
    before = train.report(tmp_path / "run")
    assert before["epochs"] == 2
    train(run, "ckpt=last")
    assert train.report(tmp_path / "run") == before


def test_a_test_keeps_the_history_of_the_training(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = whole_run
    shutil.copytree(folder, tmp_path / "copy")
    (best,) = (tmp_path / "copy" / "checkpoints").glob("best*")
    train(f"run_dir={tmp_path / 'copy'}", *train.small, "stages=[test]", f"ckpt={best}")
    rows = train.metrics(tmp_path / "copy")
    assert all(row in rows for row in train.metrics(folder))
    tested = [row["test/loss"] for row in rows if "test/loss" in row]
    assert tested == [str(train.report(folder)["test"]["loss"])] * 2


def test_a_run_goes_on_in_another_folder(train: Command, whole_run: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = whole_run
    last = folder / "checkpoints" / "last.ckpt"
    train(folder / "config.yaml", f"run_dir={tmp_path / 'other'}", f"ckpt={last}")
    ours, other = train.report(folder), train.report(tmp_path / "other")
    assert other["test"] == ours["test"]


def test_a_moved_run_goes_on_where_it_is(train: Command, whole_run: tuple[Path, str], tmp_path: Path) -> None:
    """Also with a last row of the log that a kill has torn."""
    folder, _ = whole_run
    shutil.copytree(folder, tmp_path / "moved")
    with (tmp_path / "moved" / "metrics.csv").open("a") as file:
        file.write("1,1")
    train(f"run_dir={tmp_path / 'moved'}", "ckpt=last", "trainer.max_epochs=3")
    content = json.loads((tmp_path / "moved" / "report.json").read_text())
    assert content["epochs"] == 3
    assert Path(content["checkpoint"]).parent == tmp_path / "moved" / "checkpoints"
    assert len([row for row in train.metrics(tmp_path / "moved") if "val/loss" in row]) == 3


def test_a_checkpoint_that_cannot_be_used_is_named(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = whole_run
    last = folder / "checkpoints" / "last.ckpt"
    run = f"run_dir={tmp_path / 'run'}"
    _, errors = train(run, *train.small, f"ckpt={last}", "model.cell=mgu", status=2)
    assert "cell='gru' there, 'mgu' here" in errors
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(last.read_bytes()[:5000])
    _, errors = train(run, *train.small, f"ckpt={torn}", status=2)
    assert "torn.ckpt" in errors
    assert len(errors.strip().splitlines()) == 1


def test_what_the_library_lacks_is_a_mistake_too(train: Command, tmp_path: Path) -> None:
    """And leaves the folder free."""
    _, errors = train(
        f"run_dir={tmp_path / 'run'}", *train.small, "model.cell=mgu", "model.init=chrono", status=2
    )
    assert "chrono" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_that_cannot_be_reached(train: Command, tmp_path: Path) -> None:
    key = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    _, errors = train(f"run_dir={tmp_path / 'run'}", *train.small, "tracking.wandb=auto", **key)
    assert "this run is kept offline" in errors
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_weights_and_biases_offline(train: Command, tmp_path: Path) -> None:
    train(
        f"run_dir={tmp_path / 'run'}",
        *train.small,
        "tracking.wandb=auto",
        WANDB_API_KEY="",
        HOME=str(tmp_path),
    )
    (stored,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    content = stored.read_bytes()
    for name in (b"warmup/vaa_star", b"val/loss", b"vaa_steps", b"learning_curve"):
        assert name in content


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("warmup.lrr=1", "warmup.lr"),
        ("warmup.lr=abc", "number"),
        ("data.name=minst", "copy_first_input"),
        ("trainer.max_epoch=3", "trainer.max_epochs"),
        ("model.cell=gruu", "gru"),
        ("missing.yaml", "missing.yaml"),
    ],
)
def test_a_mistake_ends_with_one_line_and_status_2(train: Command, argument: str, words: str) -> None:
    begin = time.monotonic()
    output, errors = train(argument, status=2)
    assert time.monotonic() - begin < 10  # a third of a second on an idle machine
    assert output == ""
    assert len(errors.strip().splitlines()) == 1
    assert argument.split("=")[0] in errors
    assert words in errors


@pytest.mark.parametrize(
    ("argument", "environment", "named"),
    [
        ("trainer.devices=3", {}, "data.batch_size=16: must be divisible by the 3 processes"),
        ("seed=0", {"RANK": "1"}, "RANK=1 in the environment"),
        ("seed=0", {"WORLD_SIZE": "2"}, "WORLD_SIZE=2 in the environment"),
    ],
)
def test_processes_that_do_not_fit_are_one_line_before_anything_runs(
    train: Command, tmp_path: Path, argument: str, environment: dict[str, str], named: str
) -> None:
    output, errors = train(*train.small, argument, f"run_dir={tmp_path / 'run'}", status=2, **environment)
    assert (output, len(errors.splitlines())) == ("", 1)
    assert named in errors
    assert not (tmp_path / "run").exists()


def test_help_and_cfg_need_no_torch() -> None:
    code = "import sys, train; s = train.main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(s)"
    for argument in ("--help", "--cfg", "data.lenght=3"):
        done = subprocess.run(
            [sys.executable, "-c", code, argument], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == (2 if "=" in argument else 0), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("argument", ["--help", "--cfg"])
def test_a_reader_may_stop_early(argument: str) -> None:
    with subprocess.Popen(
        [sys.executable, "train.py", argument], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_policy_is_proven_and_its_proof_can_be_checked_again(train: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    maze = ["data.name=tmaze", "data.length=6", "data.capacity=512", "data.samples=prefixes"]
    network = ["model.hidden_size=16", "model.num_layers=1", "warmup.extension=1", "trainer.accelerator=cpu"]
    agent = ["agent.stop_when_optimal=true", "proof.steps=1500", "trainer.max_epochs=20"]
    train(f"run_dir={run}", *maze, "data.test_multiples=[]", *network, *agent, "tracking.wandb=disabled")
    report = train.report(run)
    assert report["checkpoint"] == "proven.ckpt"
    assert report["certified"]["proven"]
    assert report["certified"]["radius"] >= 0.05
    assert recheck([str(run)]) == 0
    with np.load(run / "certificate.npz") as saved:
        arrays = dict(saved)
    arrays["upper"][1] += 1.0
    np.savez(run / "certificate.npz", **arrays)
    assert recheck([str(run)]) != 0
    refused = ["data.name=gym", "data.env_id=CartPole-v1"]
    _, errors = train(*refused, "proof.steps=1", f"run_dir={tmp_path}/a", status=2)
    assert "proof.steps=1: must be 0, since gym has no automaton" in errors
