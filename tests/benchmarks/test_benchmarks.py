"""The benchmarks run, and their tables have what they promise; nothing here is about speed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command import SMALL

from benchmarks import __main__ as everything
from benchmarks import cells, epoch, growth, measure, memory, settling, vanishing, warmup
from benchmarks.page import Table
from lightning_warmup.cells import cell_names

TABLES = {
    "cells": (lambda: cells.training(3, 4, 1, 2, 0), ["nn.GRU", "nn.LSTM", *cell_names()]),
    "vanishing": (lambda: vanishing.vanishing(3, 4, 2, 0), ["nn.GRU", "gru", "nn.LSTM", "lstm"]),
    "growth with T": (
        lambda: growth.growth("", "T", [2, 4], lambda T: growth.training(T, 4, 2), 0),
        ["2", "4", "last doubling x"],
    ),
    "growth with N": (
        lambda: growth.growth("", "N", [2, 4], lambda N: growth.comparing(N, 3), 0),
        ["2", "4", "last doubling x"],
    ),
    "warmup": (lambda: warmup.warmup(5, 4, 2, 3, 3), ["gru", "nbrc"]),
    "settling": (
        lambda: settling.settling(4, 3, 60, 1, 2),
        [*(f"{cell}, at initialisation" for cell in ("gru", "brc", "nbrc")), "gru, after 1 warmup steps"],
    ),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("table", "rows"), TABLES.values(), ids=TABLES)
def test_a_table_has_its_rows(table, rows: list[str]) -> None:
    heading, *body = table().rows
    assert [row[0] for row in body] == rows
    assert all(len(row) == len(heading) for row in body)
    assert all(any(character.isdigit() for character in row[1]) for row in body)


def test_loops_are_timed_beside_the_cells_they_run() -> None:
    heading, *body = cells.training(3, 4, 2, 2, 0).rows
    loops = {row[0] for row in body if row[heading.index("loop ms")]}
    assert {"gru", "mgu", "brc", "nbrc"} <= loops
    assert not {"nn.GRU", "nn.LSTM"} & loops


@pytest.mark.parametrize("cell", ["gru", "mgu", "brc", "nbrc"])
def test_a_loop_has_the_values_and_gradients_of_its_cell(cell: str) -> None:
    fast, slow = cells.make(cell, 5, 2), cells.make(f"loop {cell}", 5, 2)
    weights = list(fast.parameters())
    for weight, other in zip(weights, slow.parameters(), strict=True):
        other.data.copy_(weight.data)
    x = torch.randn(7, 3, 1)
    outputs = [module(x)[0] for module in (fast, slow)]
    torch.testing.assert_close(*outputs)
    for module in (fast, slow):
        cells.training_step(module, x)
    for weight, other in zip(weights, slow.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad)


@pytest.mark.parametrize("cell", ["gru", "mgu", "brc", "nbrc"])
def test_a_warmup_one_by_one_has_the_losses_of_the_warmup(cell: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        figures = warmup.stage(cell, T=9, H=12, L=2, batch=5, steps=4)
    finally:
        torch.set_default_dtype(torch.float32)
    _, _, here, one_by_one, _ = zip(*figures, strict=True)
    assert here == pytest.approx(one_by_one, rel=1e-6)
    assert len(set(here)) > 2


def test_the_measure_is_the_same_with_early_stop_and_without() -> None:
    heading, *body = settling.settling(8, 6, 400, 2, 2).rows
    for row in body:
        assert row[heading.index("VAA")] == row[heading.index("all steps, VAA")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_holds_what_the_gradient_needs() -> None:
    """A loop keeps the states and five more tensors of their size, at the least, for its gradient."""
    states = 200 * 64 * 64 * 4 / 2**20
    assert measure.in_new_process(memory.peak, "loop nbrc", 200, 64, 1, 64) > 5 * states


def test_the_parts_of_an_epoch_add_up() -> None:
    heading, *body = epoch.epoch(*SMALL).rows
    seconds = {row[0]: float(row[heading.index("s an epoch")]) for row in body}
    assert list(seconds) == [*epoch.PARTS, "optimiser", "the rest", "whole epoch", "warmup, once"]
    assert seconds["the rest"] >= 0
    assert all(seconds[part] > 0 for part in ("forward", "backward", "optimiser", "monitor, M=1000"))


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    seconds = measure.in_turns({name: lambda n=name: calls.append(n) for name in "ab"}, budget=0, least=3)
    assert calls == list("ababab")
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


class _OneTable:
    """One table.

    Nothing else.
    """

    @staticmethod
    def tables(quick: bool) -> Iterator[Table]:
        yield Table("Title", [["name", "ms"], ["one", "1.5" if quick else "2.5"]])


def test_the_page_has_the_machine_the_command_and_the_tables(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(everything, "SUBJECTS", (_OneTable,))
    page = tmp_path / "BENCHMARKS.md"
    everything.main(["--quick", "--threads", "1", "--output", str(page)])
    text = page.read_text()
    assert f"torch {torch.__version__}" in text
    assert f"python -m benchmarks --quick --threads 1 --output {page}" in text
    assert (
        "## One table\n\nNothing else.\n\n**Title**\n\n| name |  ms |\n| ---- | --: |\n| one  | 1.5 |\n"
        in text
    )
    assert text.strip() == capsys.readouterr().out.strip()
