"""Portraits of networks, and the figures of runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lightning_warmup.dynamics.horizon import memory_horizon
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.dynamics.portraits import Portrait, portrait
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.reporting.figures import MOMENTS, draw_comparison, draw_run, main, read_portraits


def network(cell: str = "gru", hidden_size: int = 8) -> RecurrentNetwork:
    torch.manual_seed(0)
    return RecurrentNetwork(1, hidden_size, 1, num_layers=2, cell=cell, batch_first=True)


def write_run(folder: Path, *metrics: str, portraits: tuple[str, ...] = ()) -> Path:
    """A run folder with some logged metrics and portraits."""
    folder.mkdir()
    rows = [
        {"step": step, "epoch": step, "warmup/step": step, "pretrain/step": step, metric: 0.5 / (step + 1)}
        for metric in metrics
        for step in range(4)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    for moment in portraits:
        taken = portrait(network(), torch.randn(10, 20, 1), steps=300)
        taken.save(folder / "portraits" / f"{moment}.npz")
        horizon = memory_horizon(network(), torch.randn(20, 10, 1), limit=100)
        horizon.forward.save(folder / "memory" / f"{moment}.npz")
    return folder


@pytest.mark.parametrize("cell", ["gru", "lstm", "brc"])
def test_the_figures_of_a_portrait_are_those_of_the_measure(cell: str) -> None:
    rnn, sequences = network(cell), torch.randn(16, 20, 1)
    taken = portrait(rnn, sequences, steps=300)
    assert list(taken.steps) == [1, 3, 10, 30, 100, 300]
    for steps, vaa, rest in zip(taken.steps, taken.vaa, taken.resting_fraction, strict=True):
        measured = multistability(rnn, sequences, steps=int(steps), draws=1)
        assert vaa == pytest.approx(measured.vaa, abs=1e-6)
        assert rest == pytest.approx(
            measured.resting_fraction, abs=0.07
        )  # one state of sixteen, at the tolerance
    assert taken.path.shape == (101, 16, 2)
    assert taken.resting.mean() == pytest.approx(taken.resting_fraction[-1])
    assert sum(taken.attractors.values()) == pytest.approx(1)


def test_prefixes_are_taken_whole() -> None:
    rnn, sequences, lengths = network(), torch.randn(4, 20, 1), torch.tensor([1, 20, 7, 20])
    cut = sequences.clone()
    cut[0, 1:], cut[2, 7:] = 100, 100
    first, second = portrait(rnn, sequences, lengths), portrait(rnn, cut, lengths)
    assert np.array_equal(first.path, second.path)


def test_two_components_show_a_plane_as_it_is() -> None:
    """Two units: distances in the picture are distances of the states, and all variance is in it."""
    torch.manual_seed(0)
    rnn, sequences = nn.GRU(1, 2, batch_first=True), torch.randn(16, 20, 1)
    lengths = torch.full((16,), 20)
    taken = portrait(rnn, sequences, lengths, steps=30)
    states = rnn(sequences)[1][0].detach()
    shown = torch.from_numpy(taken.path[0])
    assert torch.allclose(torch.cdist(shown, shown), torch.cdist(states, states), atol=1e-5)
    assert taken.variance.sum() == pytest.approx(1)
    assert taken.variance[0] >= taken.variance[1] >= 0
    single = portrait(nn.GRU(1, 1, batch_first=True), sequences, steps=30)
    assert np.all(single.path[:, :, 1] == 0)


@pytest.mark.parametrize(
    ("metrics", "portraits", "names"),
    [
        ([], [], []),
        (["val/loss", "train/loss"], [], ["learning_curve"]),
        (
            ["val/loss", "monitor_M1000/vaa", "monitor_M1000/resting_vaa"],
            ["before", "final"],
            ["learning_curve", "multistability", "portraits", "memory"],
        ),
        (["val/return", "train/return", "monitor_M1000/vaa"], [], ["learning_curve"]),
        (["warmup/vaa_star", "warmup/loss", "warmup/stabilization"], [], ["warmup"]),
        (["pretrain/loss"], list(MOMENTS), ["pretraining", "multistability", "portraits", "memory"]),
    ],
)
def test_a_run_has_the_figures_that_it_has_data_for(
    tmp_path: Path, metrics: list[str], portraits: list[str], names: list[str]
) -> None:
    folder = write_run(tmp_path / "run", *metrics, portraits=tuple(portraits))
    drawn = draw_run(folder)
    assert list(drawn) == names
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.parent == folder for path in drawn.values())
    assert list(read_portraits(folder)) == portraits


def test_a_portrait_saves_and_loads_itself(tmp_path: Path) -> None:
    taken = portrait(network("brc"), torch.randn(10, 20, 1), steps=300)
    taken.save(tmp_path / "new" / "one.npz")
    again = Portrait.load(tmp_path / "new" / "one.npz")
    for name, value in vars(taken).items():
        assert np.array_equal(value, getattr(again, name)), name
    assert again.attractors == taken.attractors
    assert again.spectral_radius == taken.spectral_radius


def test_a_portrait_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    names = ("path", "settled", "resting", "variance", "steps", "vaa", "rest")
    np.savez(tmp_path / "old.npz", **{name: np.zeros(2) for name in names})
    assert Portrait.load(tmp_path / "old.npz").spectral_radius is None


def test_the_last_portrait_is_read_as_it_was_taken(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", portraits=("before",))
    (taken,) = read_portraits(folder).values()
    assert isinstance(taken, Portrait)
    assert taken.path.dtype == np.float32
    assert taken.resting.dtype == bool


def test_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_run(tmp_path / name, "val/loss") for name in ("a", "b")]
    output = draw_comparison({folder.name: folder for folder in folders}, tmp_path / "both.png")
    assert output.stat().st_size > 10_000
    returns = write_run(tmp_path / "c", "val/return")
    assert draw_comparison({"c": returns}, tmp_path / "returns.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="have a loss and others a return"):
        draw_comparison({"a": folders[0], "c": returns}, tmp_path / "mixed.png")
    assert main([str(tmp_path / "again.png"), f"label={folders[0]}"]) == 0
    assert main([str(tmp_path / "again.png"), f"label={tmp_path / 'none'}"]) == 2
    assert "none" in capsys.readouterr().err
