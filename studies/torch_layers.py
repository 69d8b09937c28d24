"""What a warmup reaches on torch's own layers: ``python -m studies.torch_layers``, ten minutes on one core.

Each row of ``studies/torch_layers.csv`` is a call ``warmup(layer, sequences)`` with default settings. The VAA is
measured afterwards on other sequences. Rows that exist are not computed again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_warmup import multistability, warmup
from lightning_warmup.reporting.rows import markdown
from studies.fill import fill

TABLE = Path(__file__).with_suffix(".csv")
WHAT = ("layer", "hidden_size", "num_layers", "seed")
LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "GRU": (nn.GRU, {}),
    "LSTM": (nn.LSTM, {}),
    "RNN": (nn.RNN, {}),
    "LSTM, proj_size=16": (nn.LSTM, {"proj_size": 16}),
    "LSTM, dropout=0.3": (nn.LSTM, {"dropout": 0.3}),
}
LENGTH, SEQUENCES, MEASURED, HIGH = 50, 256, 64, 0.9


def reach(layer: str, hidden_size: int, num_layers: int, seed: int) -> dict[str, str]:
    """Warm up one layer; return what was measured."""
    torch.manual_seed(seed)
    kind, settings = LAYERS[layer]
    rnn = kind(1, hidden_size, num_layers, **settings)
    sequences, others = torch.randn(LENGTH, SEQUENCES, 1), torch.randn(LENGTH, MEASURED, 1)
    before = multistability(rnn, others).vaa
    since = time.perf_counter()
    result = warmup(rnn, sequences, seed=seed)
    seconds = time.perf_counter() - since
    found = multistability(rnn, others)
    measured = {
        "vaa_before": before,
        "vaa": found.vaa,
        "resting_vaa": found.resting_vaa,
        "steps": len(result),
        "seconds": seconds,
    }
    return {name: f"{value:.4g}" for name, value in measured.items()}


def wanted(seeds: int) -> list[tuple[str, int, int, int]]:
    """Return the cases, as values of `WHAT`; dropout needs two layers."""
    cases = product(LAYERS, (24, 64), (1, 2), range(seeds))
    return [case for case in cases if not ("dropout" in case[0] and case[2] == 1)]


def summary(rows: Sequence[dict[str, str]]) -> str:
    """Return a table of the VAA of each kind of layer: its median, its least value, and how often it is high."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["hidden_size"], row["num_layers"]), []).append(float(row["vaa"]))
    lines = []
    for what, vaas in groups.items():
        high = f"{sum(vaa > HIGH for vaa in vaas)} of {len(vaas)}"
        lines.append([*what, f"{statistics.median(vaas):.2f}", f"{min(vaas):.2f}", high])
    return markdown(["layer", "hidden size", "layers", "VAA, median", "lowest", f"above {HIGH}"], lines)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m studies.torch_layers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args(argv)
    print(summary(fill(TABLE, WHAT, wanted(options.seeds), reach)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
