"""The README and the pages on runs and on parts of one's own: their commands run, as does a fork as they say.

Links of every page lead to files and headings of the repository.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_python

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RUN = (ROOT / "docs" / "run.md").read_text()
FORK = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "fork").glob("*.md")))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "lightning_warmup" / "RECIPES.md",
]
APART = "adding", "mnist", "json_schema", "recall", "janet", "spread", "sparse", "selective_copying", "optim."
"""Words of commands that need something beforehand, which tests of their own bring."""
SMALL = [
    "data.seq_length=60", "data.train_size=32", "data.val_size=32", "data.test_size=64", "data.test_lengths=[70]",
    "model.hidden_size=8", "warmup.steps=2", "monitor.steps=10", "trainer.max_epochs=1", "trainer.accelerator=cpu",
    "tracking.wandb=disabled",
]  # fmt: skip

OTHER = [word for word in SMALL if not word.startswith("data.")]
SIZES = {
    "--help": [],
    "figures": [],
    "studies.run": [],
    "studies.page": [],
    "tmaze": [
        "data.length=4",
        "data.capacity=100",
        "data.episodes_per_epoch=2",
        "data.test_multiples=[2]",
        *OTHER,
    ],
    "mnist": ["data.train_size=200", "data.val_size=100", "data.test_size=64", *OTHER],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README + RUN + FORK, re.DOTALL)


def commands(first_words: str) -> list[str]:
    lines = [line.strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith(first_words)]


def run(folder: Path, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
    assert words[0] == "python"
    done = run_python([*words[1:], *more], folder)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A copy of the repository."""
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "runs", "wandb", "data", "__pycache__", "*.egg-info", ".*_cache"
    )
    return Path(shutil.copytree(ROOT, tmp_path / "fork", ignore=ignored))


def test_it_is_short_and_its_pictures_exist() -> None:
    assert len(README.splitlines()) < 150
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_of_the_repository(page: Path) -> None:
    for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", prose(page)):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not heading or heading in headings(target), f"{path}#{heading}"


def prose(page: Path) -> str:
    """The text of a page without its code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)


def headings(page: Path) -> list[str]:
    """The headings of a page, as links name them."""
    lines = re.findall(r"^#+ (.*)", page.read_text().lower(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in lines]


def test_the_first_two_commands_install_run_and_test() -> None:
    assert [block.strip() for block in blocks("bash")[:2]] == [
        "pip install -e . && python train.py",
        'pip install -e ".[dev]" && pytest',
    ]
    assert 'pip install -e ".[dev]" && pytest' in (ROOT / ".ci" / "run").read_text()


TESTED = [command for command in commands("python") if not any(word in command for word in APART)]
CHAIN = [command for command in TESTED if "runs/" in command]


def sized(command: str) -> list[str]:
    return next((sizes for word, sizes in SIZES.items() if word in command), SMALL)


@pytest.mark.parametrize("command", [command for command in TESTED if command not in CHAIN])
def test_the_commands_run(fork: Path, command: str) -> None:
    run(fork, command, *sized(command))


def test_the_commands_that_use_the_folders_of_others_run(fork: Path) -> None:
    assert len(CHAIN) >= 5
    for command in CHAIN:
        run(fork, command, *sized(command))


def test_the_mnist_command_runs(fork: Path) -> None:
    if "MNIST_ROOT" not in os.environ:
        pytest.skip("MNIST_ROOT does not name a folder with the four MNIST files")
    (command,) = [command for command in commands("python") if "mnist" in command]
    run(fork, command.replace("data/mnist", os.environ["MNIST_ROOT"]), *SIZES["mnist"])


def test_a_trained_network_is_used(fork: Path) -> None:
    run(fork, "python train.py run_dir=runs/mine", *SMALL)
    (code,) = [block for block in blocks("python") if "load_from_checkpoint" in block]
    (fork / "use.py").write_text(code)
    assert run(fork, "python use.py").stdout.strip().endswith("True")


def test_a_fork_changes_its_training(fork: Path) -> None:
    path = "lightning_warmup/modules/robust.py"
    (fork / path).write_text(files_to_add()[path])
    script = (fork / "train.py").read_text()
    (change,) = blocks("diff")
    for before, after in re.findall(r"^-(.*\n)((?:\+.*\n)+)", change, re.MULTILINE):
        assert before in script
        script = script.replace(before, re.sub(r"^\+", "", after, flags=re.MULTILINE))
    (fork / "train.py").write_text(script)
    (command,) = [command for command in commands("python train.py") if "optim.name" in command]
    command = command.replace("optim.rise_steps=100", "optim.rise_steps=1")
    shown = run(fork, f"{command} run_dir=runs/robust", *SMALL, "data.batch_size=8").stdout
    assert "test absolute_error" in shown.replace("  ", " ")
    report = json.loads((fork / "runs" / "robust" / "report.json").read_text())
    assert 0.2 < report["trivial_loss"] < 0.4


def test_an_environment_of_ones_own_lies_beside_the_script(fork: Path) -> None:
    (code,) = [block for block in blocks("python") if "class Recall" in block]
    (fork / "recall.py").write_text(code)
    (command,) = [command for command in commands("python") if "recall" in command]
    sizes = ["data.capacity=100", "data.episodes_per_epoch=2", "data.evaluation_episodes=4", *OTHER]
    assert "test solved" in run(fork, f"{command} run_dir=runs/recall", *sizes).stdout
    assert "delay: 8" in (fork / "runs" / "recall" / "config.yaml").read_text()


def test_a_study_of_ones_own_is_its_grid_times_its_seeds(fork: Path) -> None:
    (content,) = [block for block in blocks("yaml") if "grid:" in block]
    (fork / "mine.yaml").write_text(content)
    shown = run(fork, "python -m studies.run mine.yaml --list").stdout.splitlines()
    assert len(shown) == 12
    assert all(line.startswith("new") for line in shown)


def files_to_add() -> dict[str, str]:
    """Path and content of the files that the fork section writes."""
    named = re.findall(r"`(\w+/[\w/.]+\.(?:py|yaml))`[^`]*```(?:python|yaml)\n(.*?)```", FORK, re.DOTALL)
    return {path: content for path, content in named if not (ROOT / path).exists()}


@pytest.mark.timeout(1200)
def test_a_fork_trains_its_own_cell_on_its_own_benchmark_with_its_own_objective(fork: Path) -> None:
    added = files_to_add()
    del added["lightning_warmup/modules/robust.py"]
    assert sorted(added) == [
        "datamodules/adding.py",
        "datamodules/selective_copying.py",
        "lightning_warmup/cells/janet.py",
        "lightning_warmup/cells/norm_mgu.py",
        "lightning_warmup/initialisations/sparse.py",
        "lightning_warmup/procedures/objectives/spread.py",
    ]
    for path, content in added.items():
        (fork / path).write_text(content)
    (settings,) = [block for block in blocks("python") if "class Adding(Generated):" in block]
    schema = fork / "configs" / "data.py"
    schema.write_text(f"{schema.read_text()}\n\n{settings}")

    overview = run(fork, "python train.py --help").stdout
    assert all(name in overview for name in ("janet", "sparse", "adding", "selective_copying", "spread"))
    for name, shown in {
        "adding": "test loss",
        "selective_copying": "test accuracy",
        "janet": "test loss",
        "sparse": "test loss",
        "spread": "test loss",
    }.items():
        (command,) = [command for command in commands("python train.py") if name in command]
        assert shown in run(fork, command, *SMALL).stdout
    (command,) = [command for command in commands("python") if "json_schema" in command]
    command, _, output = command.partition(" > ")
    (fork / output).write_text(run(fork, command).stdout)

    # The tests that go through the registries find what is new by themselves.
    rooms = (
        "cells",
        "initialisations",
        "modules",
        "procedures",
        "datamodules",
        "configs/test_json_schema.py",
    )
    tests = [
        *(f"tests/{room}" for room in rooms),
        "-n",
        "0",
        "-q",
        "-k",
        "janet or norm_mgu or sparse or spread or adding or selective_copying or schema",
    ]
    environment = os.environ | {"PYTHONPATH": str(fork)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests],
        cwd=fork,
        capture_output=True,
        text=True,
        timeout=250,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
