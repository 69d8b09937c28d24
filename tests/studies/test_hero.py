"""The picture of the README is drawn from the rows that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import hero


def test_it_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hero, "HIDDEN", 8)
    monkeypatch.setattr(hero, "LENGTH", 20)
    monkeypatch.setattr(hero, "STEPS", 50)
    monkeypatch.setattr(
        hero, "WARMUPS", {"published": {"steps": 2}, "rest": {"objective": "rest", "steps": 2}}
    )
    assert hero.main(["--output", str(tmp_path / "hero.png")]) == 0
    assert (tmp_path / "hero.png").stat().st_size > 10_000


def test_without_rows_it_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hero, "ROWS", Path("nowhere.csv"))
    assert hero.main([]) == 2
    assert "run studies/memory.yaml first" in capsys.readouterr().err
