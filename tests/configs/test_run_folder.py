"""Where a run lives: new, given, shared and used folders, checkpoints, and the saved configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs.compose import CONFIG_FILE, compose
from configs.launch import FOLDER_VARIABLE, PROCESS_VARIABLE
from configs.run_folder import give_up, go_on, newest_checkpoint, open_run_folder
from configs.values import ConfigError

RANKS = ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"]
SIZES = ["WORLD_SIZE", "SLURM_NTASKS", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID"]


@pytest.fixture(autouse=True)
def fresh_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no trace of a launcher; what a run sets is undone."""
    for name in [FOLDER_VARIABLE, PROCESS_VARIABLE, *RANKS, *SIZES]:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*argv: str) -> Path:
    """What a run does first."""
    config = compose(argv)
    folder = open_run_folder(config)
    go_on(config, folder)
    return folder.path


def checkpoint(run: Path, name: str, seconds: int) -> Path:
    path = run / "checkpoints" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (seconds, seconds))
    return path


def error_of(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        start(*argv)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_each_run_has_a_new_folder_by_default() -> None:
    folders = [start("data.name=denoising") for _ in range(3)]
    assert len(set(folders)) == 3
    for folder in folders:
        assert folder.parent == Path("runs")
        assert "denoising_gru" in folder.name
        assert (folder / CONFIG_FILE).is_file()


def test_a_given_folder_is_made_with_its_parents() -> None:
    assert start("run_dir=a/b") == Path("a/b")
    assert Path("a/b", CONFIG_FILE).is_file()


def test_a_used_folder_is_refused_without_a_checkpoint() -> None:
    start("run_dir=a")
    saved = Path("a", CONFIG_FILE).read_text()
    message = error_of("run_dir=a", "seed=1")
    assert "run_dir='a'" in message
    assert "ckpt=last" in message
    assert Path("a", CONFIG_FILE).read_text() == saved


def test_a_folder_without_links_holds_a_run_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, path: Path) -> None:
        if path.parent.name == "b":
            path.write_text("seed: 1\n")  # of another run, at the same moment
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    start("run_dir=a")
    assert [path.name for path in Path("a").iterdir()] == [CONFIG_FILE]
    assert "ckpt=last" in error_of("run_dir=b", "seed=2")
    assert [path.name for path in Path("b").iterdir()] == [CONFIG_FILE]
    assert Path("b", CONFIG_FILE).read_text() == "seed: 1\n"


@pytest.mark.parametrize(
    "argv", [["run_dir=file"], ["run_dir=file/a"], ["run_dir=/proc/a"], ["run_dir=" + "a" * 256]]
)
def test_a_folder_that_can_not_be_used_is_one_line(argv: list[str]) -> None:
    Path("file").touch()
    assert argv[0].partition("=")[2] in error_of(*argv)


def test_a_folder_without_permission_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert "run_dir='a'" in error_of("run_dir=a")


def test_new_folders_need_a_place() -> None:
    Path("runs").touch()
    assert "runs" in error_of()


def test_the_saved_configuration_gives_the_same_run_elsewhere() -> None:
    argv = ["seed=3", "data.name=denoising", "data.pad_length=7", "tracking.tags=[a,012]", "warmup.lr=1e-6"]
    folder = start("run_dir=a", *argv)
    text = (folder / CONFIG_FILE).read_text()
    assert "run_dir" not in text
    assert "\nckpt:" not in text
    assert compose([str(folder / CONFIG_FILE)]) == compose(argv)
    assert [path.name for path in folder.iterdir()] == [CONFIG_FILE]


def test_a_run_goes_on_with_its_own_configuration_and_newest_checkpoint() -> None:
    folder = start("run_dir=a", "seed=3", "model.num_layers=1")
    newest = checkpoint(folder, "epoch=1.ckpt", 30)
    checkpoint(folder, "epoch=0.ckpt", 20)
    checkpoint(folder, "epoch=2.ckpt.unfinished", 40)
    config = compose(["run_dir=a", "ckpt=last", "seed=4"])
    assert (config.seed, config.model.num_layers) == (4, 1)
    assert open_run_folder(config) == (Path("a"), newest)
    last = checkpoint(folder, "last.ckpt", 10)
    assert open_run_folder(config) == (Path("a"), last)


def test_a_run_that_was_killed_early_starts_afresh_with_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    assert newest_checkpoint(Path("a")) is None
    assert start("run_dir=a", "seed=3", "ckpt=last") == Path("a")
    assert capsys.readouterr().err.count("anew") == 1
    config = compose(["run_dir=a", "ckpt=last"])
    assert config.seed == 3
    assert open_run_folder(config).checkpoint is None
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_damaged_configuration_of_the_run_is_named() -> None:
    start("run_dir=a")
    for text in ("", "seed: [", "sed: 1\n"):
        Path("a", CONFIG_FILE).write_text(text)
        assert f"a/{CONFIG_FILE}" in error_of("run_dir=a", "ckpt=last")


def test_a_checkpoint_has_to_exist() -> None:
    assert "ckpt='b.ckpt'" in error_of("ckpt=b.ckpt")
    assert not Path("runs").exists()
    Path("b.ckpt").touch()
    assert open_run_folder(compose(["ckpt=b.ckpt"])).checkpoint == Path("b.ckpt")


def test_a_test_needs_a_checkpoint() -> None:
    assert "ckpt=PATH" in error_of("stages=[test]")
    assert error_of("stages=[predict]").startswith("stages=[predict]: needs ckpt=PATH")
    assert "ckpt=PATH" in error_of("stages=[test]", "run_dir=a", "ckpt=last")
    assert not Path("a").exists()


def test_a_test_keeps_the_configuration_of_the_training() -> None:
    checkpoint(start("run_dir=a"), "last.ckpt", 1)
    saved = Path("a", CONFIG_FILE).read_text()
    start("run_dir=a", "ckpt=last", "stages=[test]")
    assert Path("a", CONFIG_FILE).read_text() == saved
    start("run_dir=a", "ckpt=last", "trainer.max_epochs=9")
    assert compose(["run_dir=a", "ckpt=last"]).trainer.max_epochs == 9


def test_a_checkpoint_of_another_run_does_not_go_into_a_used_folder() -> None:
    other = checkpoint(start("run_dir=a"), "last.ckpt", 1)
    checkpoint(start("run_dir=b", "seed=3"), "last.ckpt", 1)
    saved = Path("b", CONFIG_FILE).read_text()
    for stages in ("[fit,test]", "[test]"):
        assert "run_dir='b': holds a run" in error_of("run_dir=b", f"ckpt={other}", f"stages={stages}")
    assert Path("b", CONFIG_FILE).read_text() == saved
    assert start("run_dir=a", f"ckpt={other}") == Path("a")


def test_a_command_that_was_killed_can_be_repeated() -> None:
    other = checkpoint(start("run_dir=a"), "last.ckpt", 1)
    again = ["run_dir=b", f"ckpt={other}", "trainer.max_epochs=7"]
    for _ in range(2):
        assert open_run_folder(compose(again)).checkpoint == other
        start(*again)
    own = checkpoint(Path("b"), "last.ckpt", 2)
    assert open_run_folder(compose(again)).checkpoint == own
    for _ in range(2):
        assert start("run_dir=c", f"ckpt={other}", "stages=[test]") == Path("c")


@pytest.mark.parametrize(
    "setting",
    [
        *("optim.lr=0.1", "optim.name=sgd", "optim.schedule=cosine"),
        *("optim.weight_decay=0.1", "optim.rise_steps=3"),
        *("warmup.steps=8", "warmup.enabled=false", "pretrain.steps=5", "model.t_max=9"),
    ],
)
@pytest.mark.parametrize("folder", ["a", "b"])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_resumed_run_keeps_its_optimiser_and_what_made_its_weights(
    setting: str, folder: str, rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = checkpoint(start("run_dir=a"), "last.ckpt", 1)
    saved = Path("a", CONFIG_FILE).read_text()
    monkeypatch.setenv("LOCAL_RANK", rank)
    said = error_of(f"run_dir={folder}", f"ckpt={last}", setting)
    assert said.startswith(f"{setting}: must be ")
    assert Path("a", CONFIG_FILE).read_text() == saved


def test_a_report_stays_that_of_its_configuration() -> None:
    checkpoint(start("run_dir=a"), "last.ckpt", 1)
    start("run_dir=a", "ckpt=last", "stages=[test]", "data.seq_length=50")
    Path("a", "report.json").touch()
    again = "run_dir=a", "ckpt=last", "stages=[test]"
    start(*again, "trainer.enable_progress_bar=false", "data.batch_size=7")
    assert error_of(*again, "data.seq_length=50").startswith("data.seq_length=50: must be 100, or the report")
    for setting in ("seed=1", "monitor.steps=3", "trainer.limit_test_batches=1", "trainer.precision=64-true"):
        assert error_of(*again, setting).startswith(f"{setting}: must be ")


def test_what_a_run_goes_on_with_is_saved_once_it_is_possible_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint(start("run_dir=a"), "last.ckpt", 1)
    config = compose(["run_dir=a", "ckpt=last", "data.seq_length=30", "seed=4"])
    folder = open_run_folder(config)
    assert compose(["run_dir=a", "ckpt=last"]).seed == 0
    go_on(config, folder)
    assert compose(["run_dir=a", "ckpt=last"]) == compose(
        ["run_dir=a", "ckpt=last", "data.seq_length=30", "seed=4"]
    )
    assert compose(["run_dir=a", "ckpt=last"]).seed == 4
    assert capsys.readouterr().err == (
        "notice: the run continues with other settings, seed=4 (before: 0), data.seq_length=30 (before: 100)\n"
    )
    start("run_dir=a", "ckpt=last")
    assert not capsys.readouterr().err
    Path("a", CONFIG_FILE).write_text("gone: 1\n")  # of an earlier version
    start("run_dir=a", "ckpt=a/checkpoints/last.ckpt")
    assert compose(["run_dir=a", "ckpt=last"]).seed == 0


def test_a_refused_run_leaves_nothing() -> None:
    Path("b.ckpt").touch()
    config = compose(["ckpt=b.ckpt"])
    folder = open_run_folder(config)
    give_up(config, folder)
    assert not folder.path.exists()


def test_processes_that_lightning_starts_share_the_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["seed=1", "trainer.devices=2"]
    folder = start(*argv)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert start(*argv) == folder.absolute()
    monkeypatch.delenv("LOCAL_RANK")
    assert start(*argv) != folder  # the next run of the same process
    given = start(*argv, "run_dir=a", "ckpt=last")
    saved = (given / CONFIG_FILE).stat().st_mtime_ns
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert start(*argv, "run_dir=a", "ckpt=last") == given
    assert (given / CONFIG_FILE).stat().st_mtime_ns == saved
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_other_processes_of_a_launcher_need_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "run_dir" in error_of()
    assert start("run_dir=a") == Path("a")
