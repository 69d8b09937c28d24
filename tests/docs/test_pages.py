"""The pages of the site: their code runs, their settings exist, the site builds without a dead link."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from command import SMALL, Command

from configs.compose import compose
from datamodules.series_files import read_sequences

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))  # tests/test_readme.py runs the commands of run.md, and all of fork/
pytestmark = pytest.mark.site
BLOCK = re.compile(r"(?:<!-- needs: (.*?) -->\n)?```python\n(.*?)```", re.DOTALL)


def code(page: Path) -> str:
    """The Python of a page, one block after the other, without blocks whose packages are not installed."""
    blocks = BLOCK.findall(page.read_text())
    return "\n".join(text for needs, text in blocks if all(map(find_spec, needs.split())))


def commands(page: Path) -> list[str]:
    """The commands of a page, each on one line."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


def run(page: Path, folder: Path) -> list[str]:
    """Run the code of a page in a folder; return the lines that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code(page)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("index", "memory: "),
        ("one_line", "torch.Size([30, 8, 32])"),
        ("no_warmup", "memory: "),
        ("measured", "memory: "),
    ],
)
def test_the_code_of_a_page_runs(name: str, last: str, tmp_path: Path) -> None:
    assert run(DOCS / f"{name}.md", tmp_path)[-1].startswith(last)


def test_a_trained_network_is_used_as_its_page_says(tmp_path: Path, train: Command) -> None:
    train(f"run_dir={tmp_path / 'runs' / 'mine'}", *SMALL, "model.hidden_size=180", "model.num_layers=1")
    maze = (
        "data.name=tmaze",
        "data.length=3",
        "data.capacity=100",
        "data.episodes_per_epoch=2",
        "warmup.steps=1",
    )
    train(f"run_dir={tmp_path / 'runs' / 'maze'}", *maze, "trainer.max_epochs=1", "tracking.wandb=disabled")
    same, horizon, *onnx, returns = run(DOCS / "use.md", tmp_path)
    assert len(json.loads(returns)) == 8
    assert same == "True"
    assert horizon.startswith("memory: ")
    assert all(float(difference) < 1e-4 for difference in onnx)


def test_sequences_of_a_csv_file_are_read_as_the_page_says(tmp_path: Path) -> None:
    steps = [
        (sequence, 0.1 * step, sequence * step, sequence % 2)
        for sequence in range(9)
        for step in range(5 + sequence)
    ]
    lines = ["sequence,a,b,label", *(",".join(map(str, step)) for step in steps)]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    run(DOCS / "run.md", tmp_path)
    found = read_sequences(tmp_path / "mine.npz", "NTC", labelled=True)
    assert found.lengths.tolist() == [5 + sequence for sequence in range(9)]
    assert found.labels.tolist() == [str(sequence % 2) for sequence in range(9)]
    assert found.values[-1].tolist() == pytest.approx([1.2, 96])


def test_the_page_of_proofs_finds_one(tmp_path: Path) -> None:
    before, counterexample, after, again, counting = run(DOCS / "proofs.md", tmp_path)
    assert before.startswith("False")
    assert counterexample.startswith("(")
    assert after.startswith("True")
    assert after.split()[1] == again
    assert counting.startswith("True 1 ")


def test_every_page_with_code_is_run() -> None:
    pages = {"index", "measured", "no_warmup", "one_line", "proofs", "run", "use"}
    assert {page.stem for page in PAGES if code(page)} == pages


def test_the_settings_on_the_pages_are_those_of_the_command() -> None:
    found = 0
    for page in PAGES:
        quoted = re.findall(r"`((?:[a-z_]+\.[a-z_]+=\S+ ?)+)`", page.read_text())
        lines = commands(page) if page.stem != "run" else []
        runs = [line.split("train.py", 1)[1].rstrip('"') for line in lines if "train.py" in line]
        for words in [shlex.split(text) for text in quoted + runs]:
            of_one_benchmark = "data.root=", "data.layout=", "data.env_id=", "ckpt="
            compose([word for word in words if not word.startswith(of_one_benchmark)])
            found += 1
    assert found > 8


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    import lightning_warmup

    text = (DOCS / "api.md").read_text()
    missing = [name for name in lightning_warmup.__all__ if f"::: lightning_warmup.{name}\n" not in text]
    assert not missing


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings", "nbconvert"))):
        pytest.skip('the site needs pip install -e ".[docs]"')
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in (
        "index.html",
        "results/index.html",
        "api/index.html",
        "recipes/index.html",
        "fork/cell/index.html",
        "notebooks/states/index.html",
    ):
        assert (tmp_path / name).is_file()
