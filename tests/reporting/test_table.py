"""The table that a run ends with."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from lightning_warmup.reporting.table import table

REPORT: dict[str, Any] = {
    "vaa": {"before": 0.1, "after": 0.9, "final": 0.5},
    "resting_vaa": {"before": 0.1, "after": 0.2, "final": 0.5},
    "rest": {"before": 1.0, "after": 0.2, "final": 0.5},
    "attractors": {
        "before": {"fixed point": 1.0, "cycle": 0.0},
        "after": {"fixed point": 0.25, "cycle": 0.75},
        "final": None,
    },
    "vaa_steps": 2000,
    "vaa_sequences": 64,
    "val": {"loss": 0.5},
    "test": {"loss": 0.25},
    "test_at_length": {"100": 0.25},
    "seconds": {"fit": 1.0},
    "checkpoint": None,
    "trivial_loss": 1.0,
}


def lines(report: dict[str, Any]) -> dict[str, str]:
    return dict(re.split("  +", line.strip(), maxsplit=1) for line in table(report).splitlines())


def test_the_table_says_what_the_report_says() -> None:
    found = lines(REPORT)
    assert found["what they approach"] == "before: fixed point 100%  after: fixed point 25%, cycle 75%"
    assert found["VAA of 64 after 2,000 steps"] == "before: 0.10  after: 0.90  final: 0.50"
    assert found["test loss"] == "0.25   (trivial predictor 1)"
    assert found["checkpoint"] == "none"


FORGETS, HOLDS = "forgets within 21 steps", "holds for more than 2,000"
APART = "of 16 pairs still apart after 2,000 steps"


def moment(steps: float, apart: int) -> dict[str, Any]:
    return {"steps": steps, "limit": 2000, "apart": apart, "pairs": 16}


@pytest.mark.parametrize(
    ("vaa", "memory", "words"),
    [
        ((1 / 64, 0.9), (moment(20.3, 0), moment(math.inf, 16)), f"{FORGETS} -> {HOLDS}"),
        ((1 / 64, 0.95), (moment(1.0, 0), moment(math.inf, 15)), f"forgets within 1 step -> 15 {APART}"),
        # As many pairs are forgotten as are kept, and the median is infinite all the same.
        ((1 / 64, 1 / 32), (moment(20.3, 0), moment(math.inf, 8)), f"{FORGETS} -> 8 {APART} (2 places, 1 bit)"),
        ((1 / 8, 1 / 64), (moment(math.inf, 16), moment(9, 1)), f"{HOLDS} (8 places, 3 bits) -> 1 {APART}"),
    ],
)  # fmt: skip
def test_the_verdict_on_the_memory_comes_first(
    vaa: tuple[float, float], memory: tuple[dict[str, Any], ...], words: str
) -> None:
    moments = {
        "vaa": {"before": vaa[0], "final": vaa[1]},
        "memory": {"before": memory[0], "final": memory[1]},
    }
    assert table(REPORT | moments).startswith("memory ")
    assert lines(REPORT | moments)["memory"] == words


def test_a_network_that_drifts_is_told_what_to_try() -> None:
    drifting = REPORT | {"resting_vaa": {"before": 0.1, "after": 0.2, "final": 0.1}}
    assert "warmup.objective=rest" in lines(drifting)["memory may fade"]
    assert "memory may fade" not in lines(REPORT)
    forgetting = drifting | {"vaa": {"before": 0.1, "after": 0.9, "final": 0.2}}
    assert "memory may fade" not in lines(forgetting)


def test_moments_without_a_measurement_are_left_out() -> None:
    nothing = dict.fromkeys(("before", "after", "final"))
    final = nothing | {"final": {"fixed point": 1.0}}
    assert lines(REPORT | {"attractors": final})["what they approach"] == "final: fixed point 100%"
    assert "what they approach" not in lines(REPORT | {"attractors": nothing})


def test_a_proof_is_one_line() -> None:
    proven = {"proven": True, "from_length": 9, "radius": 0.05, "condition": None}
    found = lines(REPORT | {"certified": proven})["proof"]
    assert found == "proven right at every length from 9 on, units free within 0.05"
    without = {"proven": False, "from_length": None, "radius": None, "condition": "boxes of up: too wide"}
    assert lines(REPORT | {"certified": without})["proof"] == "not proven: boxes of up: too wide"
    assert "proof" not in lines(REPORT | {"certified": None})
