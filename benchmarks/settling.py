"""The measure of multistability at 10,000 steps, with early stop and without.

    python -m benchmarks.settling [--quick] [--threads 2]

States of N sequences and three draws, as for a report, settle under a constant input:
`lightning_warmup.dynamics.settling.settle` lets those go that will hardly move any more; without it all of them run all
the steps. Both must give the same VAA. What that saves depends on the network: a monostable one rests at once, one
that has been warmed up may never.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.measure import clock, in_turns, milliseconds, ratio
from benchmarks.page import Table, command
from lightning_warmup import warmup
from lightning_warmup.dynamics.functional import vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, run_constant
from lightning_warmup.dynamics.settling import settle
from lightning_warmup.engine.state import State, flatten_state
from lightning_warmup.networks.layers import Layer
from lightning_warmup.networks.recurrent import RecurrentNetwork

DRAWS = 3
CHUNK = 250  # steps at a time


@torch.no_grad()
def settle_all(layers: Sequence[Layer], states: Sequence[State], input: Tensor, steps: int) -> Tensor:
    """Returns what ``settle`` returns first, (N, D), without an early stop."""
    for start in range(0, steps, CHUNK):
        states = run_constant(layers, input, states, min(CHUNK, steps - start))[1]
    return torch.cat([flatten_state(state) for state in states], dim=1)


def settling(H: int, N: int, steps: int, warmup_steps: int, least: int) -> Table:
    """Returns the table for networks of two layers."""
    cells = ("gru", "brc", "nbrc")
    networks = {f"{cell}, at initialisation": RecurrentNetwork(1, H, 1, 2, cell) for cell in cells}
    warmed = RecurrentNetwork(1, H, 1, 2, "gru")
    warmup(warmed, torch.randn(100, 512, 1), steps=warmup_steps)
    networks[f"gru, after {warmup_steps} warmup steps"] = warmed
    heading = ["network", "ms", "all steps, ms", "all / stopped", "VAA", "all steps, VAA"]
    rows = [[*heading, "furthest apart", "sampling, ms"]]
    for name, network in networks.items():
        rows.append([name, *_figures(network, torch.randn(100, N, 1), steps, least)])
    return Table(f"M={steps} H={H} L=2 N={N}, {least} turns", rows)


@torch.no_grad()
def _figures(network: RecurrentNetwork, sequences: Tensor, steps: int, least: int) -> list[str]:
    start = clock()
    layers, states, inputs = draw_reachable_states(network, sequences, None, DRAWS, None)
    sampling = clock() - start
    found: dict[str, Tensor] = {}

    def stopped() -> None:
        found["stopped"] = settle(layers, states, inputs, steps)[0]

    def whole() -> None:
        found["all"] = settle_all(layers, states, inputs, steps)

    seconds = in_turns({"stopped": stopped, "all": whole}, budget=0, least=least)
    times = [milliseconds(seconds[name]) for name in ("stopped", "all")]
    values = [f"{statistics.fmean(float(vaa(z)) for z in found[n].chunk(DRAWS)):.4f}" for n in found]
    distance = torch.linalg.vector_norm(found["stopped"] - found["all"], dim=1).max()
    share = f"{ratio(seconds['all'], seconds['stopped']):.3g}"
    return [*times, share, *values, f"{float(distance):.0e}", f"{1e3 * sampling:.0f}"]


def tables(quick: bool) -> Iterator[Table]:
    """Yields the table."""
    yield settling(32, 16, 10_000, 20, 2) if quick else settling(128, 64, 10_000, 100, 2)


if __name__ == "__main__":
    command(__doc__, tables)
