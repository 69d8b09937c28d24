from __future__ import annotations

from pathlib import Path

import numpy as np

from studies.co2 import HORIZON, LENGTH, TEST_WEEKS, read, write


def test_the_test_forecasts_weeks_that_the_training_never_saw(tmp_path: Path) -> None:
    weeks = np.arange(900.0) ** 2
    write(weeks, tmp_path)
    train, test = (np.load(tmp_path / f"{name}.npz") for name in ("train", "test"))
    for name, part, first in (("train", train, 0), ("test", test, 900 - TEST_WEEKS - LENGTH)):
        last = first + LENGTH - 1  # week of the last number of a window
        assert part["x"].shape == (len(part["y"]), LENGTH, 1), name
        assert part["y"].shape[1] == HORIZON
        np.testing.assert_array_equal(part["x"][0, :, 0], weeks[first : last + 1] - weeks[last])
        np.testing.assert_array_equal(part["y"][0], weeks[last + 1 : last + 1 + HORIZON] - weeks[last])
    assert len(train["y"]) == 900 - TEST_WEEKS - LENGTH - HORIZON + 1
    assert len(test["y"]) == TEST_WEEKS - HORIZON + 1


def test_weeks_without_a_number_lie_between_their_neighbours(tmp_path: Path) -> None:
    file = tmp_path / "co2.csv"
    file.write_text("date,co2\n19580329,316.0\n19580405,\n19580412,318.0\n")
    np.testing.assert_array_equal(read(file), [316.0, 317.0, 318.0])
