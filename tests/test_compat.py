"""The private names that are used are still there."""

from __future__ import annotations

from pathlib import Path

from stranger import Stranger, loader, trainer

from lightning_warmup._compat import training_data


def test_training_data(tmp_path: Path) -> None:
    data, fit = loader(), trainer(tmp_path, max_steps=0)
    fit.fit(Stranger(), data)
    try:
        assert training_data(fit) is data
    except AttributeError as error:
        raise AssertionError(f"Lightning has changed trainer.fit_loop._data_source: {error}") from error
