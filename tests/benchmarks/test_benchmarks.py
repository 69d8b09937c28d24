"""The benchmarks run, and their measurements are what they promise; nothing here is about speed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command import ROOT, SMALL

from benchmarks import __main__ as everything
from benchmarks import epoch, measure, page, procedures, training
from benchmarks.measure import Measurement
from lightning_warmup.cells import GatedCell, cell_by_name, cell_names
from lightning_warmup.networks.recurrent import RecurrentNetwork

GATED = [name for name in cell_names() if issubclass(cell_by_name(name), GatedCell)]
SUBJECTS = {
    "cells": (
        lambda: training.training_step(3, 2, 4, 1, 0),
        {"nn.GRU", "nn.LSTM", *cell_names(), *(f"loop {cell}" for cell in GATED)},
    ),
    "vanishing gradient": (
        lambda: training.vanishing_gradient(3, 2, 4, 0),
        {f"{name}, {of}" for name in ("nn.GRU", "gru", "nn.LSTM", "lstm") for of in ("last output", "all outputs")},
    ),
    "growth with T": (lambda: training.growth("T", 2, 1, 0, B=2, H=4), set(training.GROWING)),
    "growth with N": (lambda: training.growth("N", 2, 1, 0, H=3), {"vaa", "vaa_star"}),
    "warmup": (lambda: procedures.warmup("nbrc", 5, 3, 4, 2, 3), {"nbrc", "nbrc, one by one"}),
    "settling": (
        lambda: procedures.settling("net", RecurrentNetwork(1, 4, 1, 2, "gru"), 3, 60),
        {"net", "net, every step", "net, sampling"},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("subject", "contenders"), SUBJECTS.values(), ids=SUBJECTS)
def test_a_subject_has_its_contenders(subject, contenders: set[str]) -> None:
    found = list(subject())
    assert {each.contender for each in found} == contenders
    assert all(math.isfinite(f.value) and (f.value > 0 or f.quantity == "furthest apart") for f in found)
    times = [each for each in found if each.quantity == "ms"]
    assert {each.contender for each in times} == contenders


def test_a_loop_is_compared_with_the_cell_it_runs_and_cells_with_those_of_torch() -> None:
    found = training.training_step(3, 2, 4, 2, 0)
    ratios = {(each.contender, each.quantity) for each in found}
    assert {
        ("loop gru", "/ gru"),
        ("gru", "/ nn.GRU"),
        ("lstm", "/ nn.LSTM"),
        ("nn.LSTM", "/ nn.GRU"),
    } <= ratios
    assert ("loop lstm", "/ lstm") not in ratios


@pytest.mark.parametrize("cell", ["gru", "mgu", "brc", "nbrc"])
def test_a_loop_has_the_values_and_gradients_of_its_cell(cell: str) -> None:
    fast, slow = training.make(cell, 5, 2), training.make(f"loop {cell}", 5, 2)
    weights = list(fast.parameters())
    for weight, other in zip(weights, slow.parameters(), strict=True):
        other.data.copy_(weight.data)
    x = torch.randn(7, 3, 1)
    torch.testing.assert_close(training.train(fast, x), training.train(slow, x))
    for weight, other in zip(weights, slow.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad)


@pytest.mark.parametrize("cell", ["gru", "mgu", "brc", "nbrc"])
def test_a_warmup_one_by_one_has_the_losses_of_the_warmup(cell: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        _, steps, one_by_one = procedures.both(cell, T=9, B=5, H=12, L=2, steps=4)
    finally:
        torch.set_default_dtype(torch.float32)
    here = [step.loss for step in steps]
    assert here == pytest.approx(one_by_one, rel=1e-6)
    assert len(set(here)) > 2


@pytest.mark.parametrize("cell", ["gru", "brc", "nbrc"])
def test_vaa_is_the_same_with_early_stop_and_without(cell: str) -> None:
    found = list(procedures.settling("net", RecurrentNetwork(1, 8, 1, 2, cell), 6, 400))
    early, every = (each.value for each in found if each.quantity == "VAA")
    assert f"{early:.4f}" == f"{every:.4f}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_holds_what_the_gradient_needs() -> None:
    """A loop keeps the states and five more tensors of their size, at the least, for its gradient."""
    states = 200 * 64 * 64 * 4 / 2**20
    assert measure.in_new_process(training.peak, "loop nbrc", 200, 64, 64, 1) > 5 * states


def test_the_parts_of_an_epoch_add_up() -> None:
    seconds = {each.contender: each.value for each in epoch.epoch(*SMALL) if each.quantity == "s"}
    rest = "loops, logs, callbacks and checkpoints"
    assert list(seconds) == [*epoch.PARTS, "optimiser", rest, "whole epoch", "warmup, once"]
    assert seconds[rest] >= 0
    assert all(
        seconds[part] > 0 for part in ("forward", "backward", "optimiser", "monitor of multistability")
    )
    assert seconds.pop("warmup, once") > 0
    whole = seconds.pop("whole epoch")
    assert sum(seconds.values()) == pytest.approx(whole)


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    seconds = measure.in_turns({name: lambda n=name: calls.append(n) for name in "ab"}, budget=0, least=3)
    assert calls == list("ababab")
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_the_median_over_the_turns() -> None:
    one, other, ratio = measure.medians("s", {"a": [1, 2, 30], "b": [1, 4, 10]}, [("a", "b")], T=5)
    assert one == Measurement("s", "a", "ms", 2000, one.spread_percent, 3, T=5)
    assert other.value == 4000
    assert (ratio.contender, ratio.quantity, ratio.value) == ("a", "/ b", 1)


def test_measurements_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = [
        Measurement("s", "a, b", "/ nn.GRU", 0.5, 3, 7, T=100, M=10_000),
        Measurement("s", "c", "ms", 1e-7),
    ]
    measure.write(tmp_path / "results.csv", "a machine", found)
    assert measure.read(tmp_path / "results.csv") == ("a machine", found)


@pytest.mark.parametrize("output", ["", "SPEED.md"])
def test_a_run_prints_its_measurements_and_writes_csv_chart_and_page(
    tmp_path, monkeypatch, capsys, output: str
) -> None:
    def measured(quick: bool) -> Iterator[Measurement]:
        for name in ("nn.GRU", "gru"):
            yield Measurement("peak memory", name, "MB", 1.5 if quick else 2.5, T=3)
        yield Measurement("epoch", "whole epoch", "s", 2.0)
        yield Measurement("epoch", "warmup, once", "s", 3.0)

    monkeypatch.setattr(everything, "SUBJECTS", {"one": measured})
    everything.main(["--quick", "--threads", "1", "--output", str(tmp_path / output)])
    text = (tmp_path / (output or page.PAGE)).read_text()
    assert f"torch {torch.__version__}" in text
    assert "python -m benchmarks --quick --threads 1 --output" in text
    assert "| warmup, once | 3 |" in text
    assert "peak memory T=3 gru: 1.5 MB" in capsys.readouterr().out
    assert (tmp_path / page.CHART).stat().st_size > 1000

    monkeypatch.setattr(everything, "SUBJECTS", {})  # nothing to measure
    everything.main(["--page-only", "--output", str(tmp_path / output)])
    assert (tmp_path / (output or page.PAGE)).read_text() == text


def test_the_page_of_this_repository_is_that_of_its_measurements(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / page.CSV).write_bytes((ROOT / page.CSV).read_bytes())
    everything.main(["--page-only", "--output", str(tmp_path)])
    text = (tmp_path / page.PAGE).read_text()
    assert text == (ROOT / page.PAGE).read_text()
    assert len(text.splitlines()) <= 40
    assert (ROOT / page.CHART).is_file()
