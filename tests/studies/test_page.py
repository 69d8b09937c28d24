"""The page on many runs, from run folders and tables with known metrics."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from configs.compose import compose, to_yaml
from configs.values import ConfigError
from lightning_warmup.runtime.files import read_rows
from studies.figures import draw_pairs
from studies.groups import Result, group, pick, read_results
from studies.page import main
from studies.results import add_rows, read_run
from studies.tables import comparison, counts, spread

ROOT = Path(__file__).parents[2]
LEARNING = [0.9, 0.3, 0.02, 0.01]
NOTHING = [0.9, 0.9, 0.9]
PLAIN = "warmup.enabled=false"


def write_run(
    folder: Path,
    *settings: str,
    losses: Sequence[float] = LEARNING,
    vaa: Sequence[float] = (),
    curve: Sequence[float] = (),
    metric: str = "loss",
    every: int = 1,
    lasts: float = 0.75,
) -> Path:
    """A run folder: validation and monitored VAA by epoch, and VAA(M) before training."""
    config = compose(["model.double=false", *settings])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    report = {
        "vaa": {"before": 1 / 64, "after": None, "final": 0.5},
        "vaa_steps": 2000,
        "test": {metric: losses[-1] + config.seed / 1000},
        "test_at_length" if metric == "loss" else f"{metric}_at_length": {"200": lasts},
        "seconds": {"warmup": 1.0, "fit": 3599.0},
        "epochs": len(losses),
        "seed": config.seed,
        "trivial_loss": 1.0 if metric == "loss" else None,
        "checkpoint": "best.ckpt",
    }
    (folder / "report.json").write_text(json.dumps(report))
    origin = {"commit": "0123abc" * 6, "dirty": True, "changes": [" M studies/results/some.csv"]}
    (folder / "provenance.json").write_text(json.dumps(origin))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "epoch", f"val/{metric}", "val/optimal", "monitor_M1000/vaa"])
        writer.writeheader()
        for index, value in enumerate(losses):
            optimal = {} if metric == "loss" else {"val/optimal": float(value >= 4)}
            writer.writerow(
                {"step": 10 * index + 9, "epoch": every * (index + 1) - 1, f"val/{metric}": value, **optimal}
            )
        for index, value in enumerate(vaa):
            writer.writerow({"step": 10 * index, "monitor_M1000/vaa": value})
    if curve:
        (folder / "portraits").mkdir()
        np.savez(folder / "portraits" / "before.npz", steps=[10, 100, 2000][: len(curve)], vaa=curve)
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two cells without and with a warmup, three seeds each; one run with a warmup is worse."""
    folder = tmp_path / "study"
    for seed in range(3):
        for cell in ("gru", "nbrc"):
            common = [f"seed={seed}", f"model.cell={cell}", "tracking.group=small"]
            write_run(folder / f"{cell}_{seed}_none", *common, PLAIN, losses=NOTHING, vaa=[0.02, 0.02])
            worse = cell == "nbrc" and seed == 2
            write_run(
                folder / f"{cell}_{seed}", *common, losses=[1.0] if worse else LEARNING, curve=[1, 1, 0.5]
            )
    return folder


def table_of(text: str) -> list[list[str]]:
    """The rows of the first table of a text, its header first."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return [line for line in lines if line[0] != "---"]


def test_a_row_has_all_that_a_run_says_in_numbers(tmp_path: Path) -> None:
    losses = [0.9, 0.8, 0.7, 0.6, 0.4, 0.3]
    write_run(
        tmp_path / "run", "model.cell=lstm", "seed=3", losses=losses, vaa=[0.02, 0.2, 1], curve=[1, 0.8, 0.3]
    )
    row = read_run(tmp_path / "run", "some")
    assert {name: row[name] for name in ("study", "run", "settings", "seed", "commit", "dirty")} == {
        "study": "some", "run": "run", "settings": "data.name=copy_first_input model.cell=lstm model.double=false",
        "seed": "3", "commit": "0123abc0123a", "dirty": "false",
    }  # fmt: skip
    metrics = {
        name: float(value) for name, value in row.items() if re.match(r"curve|vaa_at|epochs|test|vaa\.", name)
    }
    assert metrics == {
        "vaa.before": 0.015625, "vaa.final": 0.5, "test.loss": 0.303, "test_at_length.200": 0.75, "epochs": 6,
        "epochs_until_learnt": 5, "epochs_until_risen": 1, "curve.loss.1": 0.9, "curve.loss.2": 0.8,
        "curve.loss.4": 0.6, "curve.loss.last": 0.3, "curve.vaa.0": 0.02, "curve.vaa.1": 0.2, "curve.vaa.2": 1,
        "curve.vaa.last": 1, "vaa_at.10": 1, "vaa_at.100": 0.8, "vaa_at.full": 0.3,
    }  # fmt: skip


def test_epochs_are_counted_whenever_they_are_validated(tmp_path: Path) -> None:
    row = read_run(write_run(tmp_path / "run", losses=[0.9, 0.8, 0.4, 0.3], vaa=[0.02, 0.2], every=4))
    assert (row["epochs_until_learnt"], row["epochs_until_risen"]) == ("12", "4")
    assert {name for name in row if name.startswith("curve.loss")} == {
        "curve.loss.4", "curve.loss.8", "curve.loss.16", "curve.loss.last"
    }  # fmt: skip


def test_in_the_maze_learnt_is_an_optimal_policy(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "data.name=tmaze", losses=[0.1, 0.2, 4.0], metric="return")
    row = read_run(run)
    assert row["epochs_until_learnt"] == "3"
    assert row["curve.return.last"] == "4"


def test_a_table_keeps_its_rows_and_gains_columns(tmp_path: Path) -> None:
    path = tmp_path / "results" / "some.csv"
    first, second = (read_run(write_run(tmp_path / name, f"seed={name}"), "some") for name in "01")
    add_rows(path, [first])
    add_rows(path, [second | {"new.metric": "1"}])
    add_rows(path, [first | {"run": "again"}])
    assert read_rows(path) == [first | {"run": "again"}, second | {"new.metric": "1"}]


def test_a_page_holds_tables_figures_and_studies(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page" / "RESULTS.md"
    assert main([str(study), "--output", str(output), "--figures", str(tmp_path / "f")]) == 0
    assert "12 runs" in capsys.readouterr().out
    text = output.read_text()
    assert text.startswith("# Results\n\nMedians over seeds")
    found = [line[1:6] for line in table_of(text)[:5]]
    assert found == [
        ["cell", "procedure", "runs", "test loss", "epochs until learnt"],
        ["GRU", "with warmup", "3", "0.011 (0.01 to 0.012)", "2"],
        ["GRU", "without warmup", "3", "0.901 (0.9 to 0.902)", ""],
        ["nBRC", "with warmup", "3", "0.011 (0.01 to 1)", "2, 2 of 3"],
        ["nBRC", "without warmup", "3", "0.901 (0.9 to 0.902)", ""],
    ]
    assert table_of(text)[-1] == ["small", "12", "0, 1, 2", "`0123abc`", "12.0"]
    images = re.findall(r"!\[.*?\]\((.*?)\)", text)
    names = ["curve.loss.png", "curve.vaa.png", "test_at_length.png", "vaa_at.png"]
    assert [Path(image).name for image in images] == names
    assert all((output.parent / image).read_bytes().startswith(b"\x89PNG") for image in images)


@pytest.mark.parametrize(
    ("metrics", "rows"),
    [
        (
            ["test.accuracy", "test.loss"],
            [
                ["GRU", "test loss", "0.901 (0.9 to 0.902)", "0.011 (0.01 to 0.012)",
                 "x 0.0122 [0.00973, 0.0152]", "1.00"],
                ["nBRC", "test loss", "0.901 (0.9 to 0.902)", "0.011 (0.01 to 1)",
                 "x 0.0532 [7.7e-05, 36.8]", "0.67"],
            ],
        ),
        # Who never learns is the worst; where neither does, none is better.
        (
            ["epochs_until_learnt"],
            [
                ["GRU", "epochs until learnt", "never", "2", "", "1.00"],
                ["nBRC", "epochs until learnt", "never", "2, 2 of 3", "", "0.83"],
            ],
        ),
    ],
)  # fmt: skip
def test_procedures_are_compared_seed_by_seed(
    study: Path, tmp_path: Path, metrics: list[str], rows: list[list[str]]
) -> None:
    results, procedures = read_results([study]), ["without warmup", "with warmup"]
    found = table_of(comparison(results, ["cell"], procedures, metrics))
    entries = [[entry for entry in row if entry] for row in rows]
    assert [[entry for entry in row if entry] for row in found[1:]] == entries
    path = draw_pairs(results, ["cell"], procedures, metrics, tmp_path / "pairs.png")
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    assert table_of(counts(results, ["cell"], procedures)) == [
        ["cell", *procedures],
        ["GRU", "0 of 3 [0.00, 0.71]", "3 of 3 [0.29, 1.00]"],
        ["nBRC", "0 of 3 [0.00, 0.71]", "2 of 3 [0.09, 0.99]"],
    ]


def test_a_table_of_runs_says_the_same_as_their_folders(study: Path, tmp_path: Path) -> None:
    table = tmp_path / "results" / "small.csv"
    add_rows(table, [read_run(path.parent) for path in sorted(study.rglob("report.json"))])
    pages = []
    for sources in ([study], [table], [study, table]):
        assert main([*map(str, sources), "--output", str(tmp_path / "page.md")]) == 0
        pages.append((tmp_path / "page.md").read_text())
    assert pages[0] == pages[1] == pages[2]
    assert "| copy first input | nBRC | without warmup | 3 |" in pages[0]


def test_a_real_run_makes_a_page(whole_run: tuple[Path, str], tmp_path: Path) -> None:
    assert main([str(whole_run[0]), "--output", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| GRU | with warmup, memory at its side | 1 |" in text
    assert len(re.findall(r"!\[", text)) >= 3


@pytest.mark.parametrize("name", ["", "nothing.csv", "other.csv"])
def test_no_runs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "other.csv").write_text("step,val/loss\n1,2\n")
    assert main([str(tmp_path / name), "--output", str(tmp_path / "page.md")]) == 2
    errors = capsys.readouterr().err
    assert str(tmp_path / name) in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "benchmark", "procedure"),
    [
        ([], "copy first input", "with warmup"),
        ([PLAIN, "data.train_size=7"], "copy first input", "without warmup"),
        (["data.seq_length=50"], "copy first input, seq length=50", "with warmup"),
        (
            ["warmup.objective=rest", "model.double=true"],
            "copy first input",
            "with warmup for rest, memory at its side",
        ),
        (["model.double=true", "model.silent=false"], "copy first input", "with warmup, double layer"),
        ([PLAIN, "pretrain.task=autoencode"], "copy first input", "autoencode pretraining"),
        (["data.name=tmaze", PLAIN, "model.init=chrono"], "tmaze", "chrono initialisation"),
    ],
)
def test_a_run_is_named_in_words(tmp_path: Path, settings: list[str], benchmark: str, procedure: str) -> None:
    write_run(tmp_path / "run", *settings)
    (result,) = read_results([tmp_path])
    assert (result["benchmark"], result["procedure"]) == (benchmark, procedure)
    assert pick([result], procedure=["other", procedure], **{"optim.lr": result["optim.lr"]}) == [result]
    assert pick([result], **{"agent.gamma": "0.5"}) == []


def test_runs_of_other_settings_never_share_a_group(tmp_path: Path) -> None:
    for index, settings in enumerate(
        ([], ["seed=1"], ["optim.lr=0.1"], ["optim.lr=0.1", "data.seq_length=50"])
    ):
        write_run(tmp_path / str(index), *settings)
    results = read_results([tmp_path])
    with pytest.raises(ConfigError, match=r"GRU, with warmup, lr=0\.1: runs of one procedure differ"):
        comparison(results, ["cell"], ["with warmup"], ["test.loss"])
    assert {key: len(members) for key, members in group(results, ["cell", "procedure"]).items()} == {
        ("GRU", "with warmup"): 2,
        ("GRU", "with warmup, lr=0.1"): 1,
        ("GRU", "with warmup, seq_length=50, lr=0.1"): 1,
    }


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.5], "0.5"), ([3, 1, 2], "2 (1 to 3)"), ([1, 1], "1"), ([1, 2, None], "1.5 (1 to 2), 2 of 3"), ([None], ""),
     ([1234.5, 1234.5], "1234")],
)  # fmt: skip
def test_a_spread_is_median_and_range(values: list[float | None], text: str) -> None:
    results = [Result({}, {} if value is None else {"a": value}) for value in values]
    assert spread(results, "a") == text


def test_a_setting_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="sell"):
        Result({"settings": "data.name=tmaze"}, {})["model.sell"]


def test_the_page_of_the_repository_is_made_from_its_tables(tmp_path: Path) -> None:
    tables = sorted(map(str, (ROOT / "studies" / "results").glob("*.csv")))
    assert main([*tables, "--output", str(tmp_path / "page.md")]) == 0
    fresh, kept = (tmp_path / "page.md").read_text(), (ROOT / "RESULTS.md").read_text()
    assert re.sub(r"\]\(.*?\)", "]()", fresh) == re.sub(r"\]\(.*?\)", "]()", kept)
    for image in re.findall(r"!\[.*?\]\((?!http)(.*?)\)", kept):
        assert (ROOT / image).is_file()
