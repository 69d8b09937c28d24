"""The page on many runs, from run folders with known figures."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from configs.compose import compose, to_yaml
from lightning_warmup.dynamics.portraits import Portrait
from studies.claims import CLAIMS
from studies.page import main
from studies.runs import Labels, Run, read_runs
from studies.tables import markdown, spread

LEARNING = [0.9, 0.3, 0.01]
NOTHING = [0.9, 0.9, 0.9]
RISING = [0.02, 0.5, 1.0, 1.0]
FLAT = [0.02] * 4
PLAIN = "warmup.enabled=false"
DOUBLE = "model.double=true"


def write_run(
    folder: Path,
    *settings: str,
    losses: Sequence[float] = LEARNING,
    vaa: Sequence[float] = (),
    before: float = 1 / 64,
    curve: Sequence[float] = (),
    figure: str = "loss",
    after: tuple[float, float] | None = None,
    lasts: float = 0.75,
) -> None:
    """A run folder: validation and monitored VAA by epoch, VAA at initialisation, and VAA(M) before training."""
    config = compose(settings)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config, leave_out=("run_dir", "ckpt")))
    report = {
        "vaa": {"before": before, "after": None, "final": 0.5},
        "resting_vaa": {"before": before / 2, "after": after and after[0], "final": 0.25},
        "rest": {"before": 1.0, "after": after and after[1], "final": 0.25},
        "vaa_steps": 2000,
        "vaa_sequences": 64,
        "val": {figure: losses[-1]},
        "test": {figure: losses[-1] + config.seed / 1000},
        "test_at_length" if figure == "loss" else f"{figure}_at_length": {"200": lasts},
        "seconds": {"warmup": 1.0, "fit": 2.0, "test": 3.0},
        "epochs": len(losses),
        "seed": config.seed,
        "trivial_loss": 1.0 if figure == "loss" else None,
    }
    (folder / "report.json").write_text(json.dumps(report))
    command = f"python train.py seed={config.seed} run_dir={folder} warmup.lr=1e-2"
    origin = {"commit": "0123abc", "dirty": False, "command": command, "versions": {"torch": "2.9"}}
    (folder / "provenance.json").write_text(json.dumps(origin))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "epoch", f"val/{figure}", "val/optimal", "monitor_M1000/vaa"])
        writer.writeheader()
        for index, value in enumerate(losses):
            optimal = {} if figure == "loss" else {"val/optimal": float(value >= 4)}
            writer.writerow({"step": 10 * index + 9, "epoch": index, f"val/{figure}": value, **optimal})
        for index, value in enumerate(vaa):
            writer.writerow({"step": 10 * index, "monitor_M1000/vaa": value})
    if curve:
        (folder / "portraits").mkdir()
        path, states = np.zeros((3, 5, 2), np.float32), np.zeros((5, 2), np.float32)
        steps, rest = np.array([10, 100, 1000][: len(curve)]), np.ones(len(curve))
        taken = Portrait(path, states, np.ones(5, bool), np.ones(2), steps, np.array(curve), rest)
        taken.save(folder / "portraits" / "before.npz")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two cells, none, warmup and double layer, and two procedures more for one of them; three seeds each."""
    folder = tmp_path / "study"
    for seed in range(3):
        start = [f"seed={seed}", f"tracking.name=run{seed}"]
        for cell, before in (("gru", 1 / 64), ("nbrc", 0.6)):
            common = [*start, f"model.cell={cell}"]
            name = f"{cell}_{seed}"
            write_run(
                folder / f"{name}_none",
                *common,
                PLAIN,
                losses=NOTHING,
                vaa=FLAT,
                before=before,
                curve=[1, 0.1],
            )
            write_run(folder / f"{name}_warm", *common, vaa=RISING, before=before, curve=[1, 1])
            write_run(folder / f"{name}_double", *common, DOUBLE, losses=[0.6, 0.4, 0.001], vaa=RISING)
        write_run(folder / f"chrono_{seed}", *start, PLAIN, "model.init=chrono", curve=[1, 0.3], vaa=FLAT)
        write_run(
            folder / f"next_{seed}", *start, PLAIN, "pretrain.task=next_step", losses=NOTHING, curve=[1, 0.1]
        )
    return folder


def told(folder: Path) -> list[str]:
    """What the runs in a folder say of each claim."""
    runs = read_runs([folder])
    return [tell(runs, Labels(runs)) for tell in CLAIMS.values()]


def rows(text: str, *words: str) -> list[list[str]]:
    """The cells of the rows of a table that begin with some words."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return [line for line in lines if line[: len(words)] == list(words)]


def test_claim_1_counts_the_places_at_initialisation_once_for_each_network(study: Path) -> None:
    text = told(study)[0]
    assert "in one place in every run of gru (copy_first_input). " in text
    assert "settle in more than one place for nbrc (copy_first_input)." in text
    copy = "copy_first_input"
    assert rows(text, copy, "gru", "default") == [
        [copy, "gru", "default", "3", "1 [1, 1]", "0.5 [0.5, 0.5]", "1 [1, 1]", "3 of 3"]
    ]
    assert rows(text, copy, "nbrc", "default")[0][3:5] == ["3", "38.4 [38.4, 38.4]"]
    assert rows(text, copy, "gru", "chrono")[0][-1] == "3 of 3"


def test_claim_2_counts_what_came_first(tmp_path: Path) -> None:
    cases = {
        "VAA rose first": (LEARNING, RISING),  # after epoch 1, learnt in epoch 2
        "in the same epoch": (LEARNING, [0.02, 0.02, 0.5, 1]),
        "learnt first": (LEARNING, [0.02, 0.02, 0.02, 1]),
        "rose, not learnt": (NOTHING, RISING),
        "learnt, never rose": (LEARNING, FLAT),
        "neither": (NOTHING, FLAT),
    }
    for index, (losses, vaa) in enumerate(cases.values()):
        write_run(tmp_path / str(index), f"model.hidden_size={2 * index + 2}", losses=losses, vaa=vaa)
    text = told(tmp_path)[1]
    (header,) = rows(text, "benchmark")
    for index, case in enumerate(cases):
        (row,) = rows(text, "copy_first_input", "gru", f"hidden_size={2 * index + 2}, warmup")
        assert row[header.index(case)] == "1"
        assert row[4:].count("0") == 5
    assert (
        "Of 6 runs that were watched, 4 learnt: 2 when or after the VAA had risen to 0.1, 2 without." in text
    )
    assert "without learning in 1, and neither came about in 1." in text


def test_claim_3_compares_what_differs_in_the_warmup_alone(study: Path) -> None:
    text = told(study)[2]
    assert "In 2 of 2 comparisons" in text
    assert "in 2 of 2 the task is learnt in fewer epochs" in text
    assert rows(text, "copy_first_input", "gru", "none")[0][3:] == [
        "3",
        "test loss 0.901 [0.901, 0.901]",
        "0 of 3",
        "",
        "test loss at 200 0.75 [0.75, 0.75]",
    ]
    assert rows(text, "copy_first_input", "gru", "warmup")[0][3:] == [
        "3", "test loss 0.011 [0.0105, 0.0115]", "3 of 3", "2 [2, 2]", "test loss at 200 0.75 [0.75, 0.75]",
    ]  # fmt: skip
    assert not rows(text, "copy_first_input", "gru", "double layer, warmup")


def test_claim_4_compares_the_double_layer(study: Path, tmp_path: Path) -> None:
    text = told(study)[3]
    assert "In 0 of the 2 comparisons below the task is learnt without a warmup" in text
    assert "or better in 2 of 2" in text
    other = tmp_path / "other"
    write_run(other / "none", PLAIN, losses=[0.3, 0.01, 0.001])
    write_run(other / "warm", losses=[0.3, 0.01, 0.002])
    write_run(other / "double", DOUBLE, losses=[0.3, 0.01, 0.003])
    text = told(other)[3]
    assert "In 1 of the 1 comparisons below the task is learnt without a warmup too; in 1 of these" in text
    assert "or better in 0 of 1" in text


def test_claim_5_compares_procedures_with_the_default(study: Path) -> None:
    text = told(study)[4]
    assert "after chrono (gru, copy_first_input). It is not after next_step (gru, copy_first_input)." in text
    (chrono,) = rows(text, "copy_first_input", "gru", "chrono")
    assert chrono[3:7] == ["3", "1 [1, 1]", "0.3 [0.3, 0.3]", "0.3 [0.3, 0.3]"]
    assert len(rows(text, "copy_first_input", "gru", "warmup")) == 1
    assert not rows(text, "copy_first_input", "nbrc")


def test_a_claim_without_evidence_is_said_to_have_none(tmp_path: Path) -> None:
    write_run(tmp_path / "run", DOUBLE)
    assert told(tmp_path) == ["These runs hold no evidence for or against this claim."] * 5


def test_the_page_has_everything(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "commands.txt").write_text("python -m studies.run some.yaml\n")
    for seed in (0, 1):
        folder = tmp_path / "maze" / str(seed)
        write_run(folder, "data.name=tmaze", f"seed={seed}", losses=[-0.1, 4.0], figure="return")
    (tmp_path / "study" / "unfinished").mkdir()
    output = tmp_path / "page" / "RESULTS.md"
    output.parent.mkdir()
    (tmp_path / "said.md").write_text("In short: it works.\n")
    options = [
        "--output",
        str(output),
        "--remarks",
        str(tmp_path / "said.md"),
        "--figures",
        str(tmp_path / "f"),
    ]
    assert main([str(study), str(tmp_path / "maze"), *options]) == 0
    assert output.read_text().startswith("# Results\n\nIn short: it works.\n\n26 runs with the seeds")
    assert "26 runs" in capsys.readouterr().out
    text = output.read_text()
    for number, claim in enumerate(CLAIMS, start=1):
        assert f"## Claim {number}: {claim}" in text
    images = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(images) >= 2
    assert all((output.parent / image).read_bytes().startswith(b"\x89PNG") for image in images)
    block = text.split("```bash\n")[1].split("```")[0].splitlines()
    assert block[:2] == [
        "python -m studies.run some.yaml",
        "python train.py seed=S warmup.lr=1e-2  # S = 0, 1",
    ]
    assert block[2].startswith("python -m studies.page ")
    for words in ("`0123abc`", "N = 64", "M = 2000", "seeds 0, 1, 2", "### tmaze", "### copy_first_input"):
        assert words in text
    for figure, value in (
        ("test loss", "0.002 [0.0015, 0.0025]"),
        ("test at length 200", "0.75 [0.75, 0.75]"),
    ):
        tables = text.split("### copy_first_input")[1].split("\n\n")
        table = next(part for part in tables if f"| {figure} |" in part)
        (row,), (header,) = rows(table, "gru", "double layer, warmup"), rows(table, "cell", "setting")
        assert row[header.index(figure)] == value


def test_warmups_for_rest_have_sections_of_their_own(study: Path, tmp_path: Path) -> None:
    common = ["tracking.group=rest", "model.hidden_size=8"]
    rest = [*common, "warmup.objective=rest", "warmup.steps=600"]
    for seed, after in enumerate([(0.95, 1.0), (0.95, 0.5), (0.2, 1.0)]):
        start = [f"seed={seed}"]
        write_run(tmp_path / "r" / f"{seed}", *rest, *start, losses=[0.1], after=after, lasts=0.15)
        write_run(tmp_path / "p" / f"{seed}", *common, *start, losses=[0.1], after=(0.1, 0.0), lasts=3.0)
        write_run(tmp_path / "n" / f"{seed}", *common, *start, PLAIN, losses=[1.0])
        # What was never learnt does not last, however little is lost.
        write_run(tmp_path / "r" / f"lstm_{seed}", *rest, *start, "model.cell=lstm", losses=[0.9], lasts=0.9)
        maze = {"losses": [0.0, 4.0], "figure": "return", "lasts": -2.0}
        write_run(tmp_path / "r" / f"maze_{seed}", *rest, *start, "data.name=tmaze", **maze)
    output = tmp_path / "page.md"
    assert main([*(str(tmp_path / name) for name in ("study", "r", "p", "n")), "--output", str(output)]) == 0
    text = output.read_text()
    ends, rest_of_page = text.split("## Where a warmup for rest ends")[1].split("## Memory that outlasts")
    assert "1 of 3 warmups for rest end at rest" in ends
    assert rows(ends, "copy_first_input", "gru")[0][2:4] == ["warmup, objective=rest", "1 of 3"]
    lasting = rest_of_page.split("## All figures")[0]
    assert (
        "in 1 of the 2 settings below with a warmup for rest in single layers, and in 0 of 1 with" in lasting
    )
    assert [row[2] for row in rows(lasting, "copy_first_input", "gru")] == [
        "none", "warmup, objective=published", "warmup, objective=rest",
    ]  # fmt: skip
    assert rows(lasting, "copy_first_input", "gru", "warmup, objective=rest")[0][3:6] == [
        "3 of 3", "1 [1, 1]", "1 [1, 1]",
    ]  # fmt: skip
    assert rows(lasting, "tmaze", "gru")[0][2:] == [
        "warmup", "3 of 3", "2 [2, 2]", "1 [1, 1]", "4 [4, 4]", "-2 [-2, -2]",
    ]  # fmt: skip
    assert "objective" not in text.split("## Where a warmup")[0]


def test_a_real_run_makes_a_page(whole_run: tuple[Path, str], tmp_path: Path) -> None:
    assert main([str(whole_run[0]), "--output", str(tmp_path / "page.md")]) == 0
    assert "gru | default | 1 |" in (tmp_path / "page.md").read_text()


def test_no_runs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--output", str(tmp_path / "page.md")]) == 2
    errors = capsys.readouterr().err
    assert str(tmp_path) in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "others", "benchmark", "variant"),
    [
        ([], ["seed=1", "tracking.tags=[a]"], "copy_first_input", "warmup"),
        ([PLAIN], ["warmup.steps=7"], "copy_first_input", "none"),
        (["warmup.steps=7"], [PLAIN], "copy_first_input", "warmup"),
        (["warmup.steps=7"], ["warmup.steps=8"], "copy_first_input", "warmup, steps=7"),
        (["data.seq_length=50"], [], "copy_first_input, seq_length=50", "warmup"),
        (["data.name=denoising", "data.seq_length=50"], [], "denoising", "warmup"),
        ([DOUBLE, "optim.lr=0.1"], [PLAIN], "copy_first_input", "double layer, lr=0.1, warmup"),
        ([PLAIN, "model.init=orthogonal"], [], "copy_first_input", "orthogonal"),
        (
            [PLAIN, "pretrain.task=autoencode", "model.init=chrono"],
            [],
            "copy_first_input",
            "chrono, autoencode",
        ),
    ],
)
def test_labels_name_what_differs(
    tmp_path: Path, settings: list[str], others: list[str], benchmark: str, variant: str
) -> None:
    write_run(tmp_path / "a", *settings)
    write_run(tmp_path / "b", *others)
    runs = read_runs([tmp_path])
    labels, first = Labels(runs), next(run for run in runs if run.folder.name == "a")
    assert (labels.benchmark(first), labels.variant(first)) == (benchmark, variant)


@pytest.mark.parametrize("values", [[0.5], [3.0, 1.0], [0.1, 0.2, 0.7], list(range(8))])
def test_a_spread_is_median_and_quartiles(values: list[float]) -> None:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    expected = f"{middle:.3g} [{low:.3g}, {high:.3g}]" if len(values) > 1 else f"{middle:.3g}"
    assert spread([None, *values]) == expected


def test_empty_entries() -> None:
    assert spread([None]) == ""
    assert markdown(["a", "b"], [["x", ""], ["y", ""]]) == "| a |\n| --- |\n| x |\n| y |"
    assert Run(Path("none"), {}, {"vaa": None}, {}).figure("vaa.before") is None
