"""Draw the boxes of a proof: ``python -m studies.boxes PROVEN_RUN OTHER_RUN [OUTPUT.png]``, policies of the T-Maze.

64 histories read one of the two cues and then go through a corridor of 2000 steps. In each step, every unit is
moved at random by up to the disturbance that the proof tolerates. The left panel has the boxes of the proven policy
and its paths. The right panel has the same histories in another policy, such as one after the published warmup.
Each panel shows the two units in which the states of the cues differ most, on the right after 20 steps.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.networks.checkpoint import network_of
from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.certify import read as read_certificate
from lightning_warmup.proofs.machine import Machine
from lightning_warmup.reporting.figures import style
from studies.figures import panel_grid, save_with_legend

HISTORIES, STEPS, TRAINED = 64, 2000, 20
GOALS = "up", "down"


def main(argv: list[str]) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m studies.boxes", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "proven", type=Path, help="run folder with certificate.npz and checkpoints/proven.ckpt"
    )
    parser.add_argument("other", type=Path, help="run folder of another policy")
    parser.add_argument("output", type=Path, nargs="?", default=Path(".github/results/boxes.png"))
    parser.add_argument("--title", default="another policy", help="what the other policy is")
    options = parser.parse_args(argv)
    automaton, boxes, (_, moved, _) = read_certificate(options.proven / "certificate.npz")
    size, rows = moved.units, [automaton.states.index(goal) for goal in GOALS]
    lower, upper = boxes.lower[rows], boxes.upper[rows]
    figure, (left, right) = panel_grid(2, 2, (0.2, 0.6), (4.2, 3.8))
    proven = paths(network_of(options.proven / "checkpoints" / "proven.ckpt"), automaton, size)
    units = most_different(*(lower + upper))
    handles = draw(left, proven, units, f"proven, moved by up to {size:.2g}")
    for number, (low, high) in enumerate(zip(lower[:, units], upper[:, units], strict=True)):
        colour = style(number)["color"]
        left.add_patch(Rectangle(low.tolist(), *(high - low).tolist(), fill=False, edgecolor=colour))
    left.autoscale_view()
    inside = ((lower[:, None] <= proven) & (proven <= upper[:, None])).all(3).all(2)  # (T, 2)
    for goal, entered in zip(GOALS, inside.T, strict=True):
        first = int(entered.int().argmax())
        print(f"{goal}: all in the box from step {first + 1}, to the end: {bool(entered[first:].all())}")
    (checkpoint,) = (options.other / "checkpoints").glob("best*.ckpt")
    others = paths(network_of(checkpoint), automaton, size)
    draw(right, others, most_different(*others[TRAINED].mean(1)), f"{options.title}, moved as much")
    gaps = (others[:, 0].mean(1) - others[:, 1].mean(1)).norm(dim=1)
    early, late = float(gaps[TRAINED]), float(gaps[-1])
    print(f"other: distance of the cues {early:.3g} after {TRAINED} steps, {late:.3g} at the end")
    save_with_legend(figure, handles, 2, options.output)
    return 0


def most_different(one: Tensor, other: Tensor) -> list[int]:
    """Return the two units in which two states ``(U,)`` differ most."""
    return (one - other).abs().topk(2).indices.tolist()


@torch.no_grad()
def paths(network: RecurrentNetwork, automaton: Automaton, size: float) -> Tensor:
    """Return the states ``(T, 2, N, U)`` after each cue, moved by up to ``size`` in each step."""
    machine, generator = Machine(network), torch.Generator().manual_seed(0)
    symbols = [list(automaton.symbols).index(name) for name in ("cue up", "cue down", "corridor")]
    half = HISTORIES // 2
    cues = automaton.lower[symbols[:2]].repeat_interleave(half, 0)
    corridor = automaton.lower[symbols[2:]].expand_as(cues)
    state, found = cues.new_zeros(HISTORIES, machine.units), list[Tensor]()
    for step in range(STEPS):
        state = machine.step(corridor if step else cues, state)
        state = state + size * (2 * torch.rand(state.shape, generator=generator, dtype=state.dtype) - 1)
        found.append(state.view(2, half, -1))
    return torch.stack(found)


def draw(axes: Axes, states: Tensor, units: list[int], title: str) -> dict[str, object]:
    """Draw paths in the plane of two units, with a dot at the end; return what the legend shows."""
    handles: dict[str, object] = {}
    for number, goal in enumerate(GOALS):
        colour, seen = style(number)["color"], states[:, number, :, units].numpy()
        for path in seen.transpose(1, 0, 2):
            axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.4, alpha=0.4)
            axes.plot(*path[-1], "o", color=colour, markersize=2)
        handles[f"after the cue {goal}"] = Line2D([], [], color=colour)
    axes.set(title=title, xlabel=f"unit {units[0]}", ylabel=f"unit {units[1]}")
    return handles


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
