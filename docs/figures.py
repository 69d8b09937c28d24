"""The pictures of the documentation: ``python -m docs.figures``, a minute on one core."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import nn

from lightning_warmup import RecurrentNetwork, memory_horizon, portrait, warmup
from lightning_warmup.reporting.figures import COLORS, finish, panels, save, style
from studies.hero import HIDDEN, LABELS, LENGTH, STATES, STEPS, WARMUPS, draw_portrait

PICTURES = Path(__file__).parent / "pictures"
LIMIT = 2000


def draw_equilibria(output: Path) -> Path:
    """Draw where one unit, h = tanh(a h), comes to rest, against its feedback a."""
    figure, (axes,) = panels(3.6)
    h = np.linspace(1e-3, 0.9945, 400)
    feedback = np.arctanh(h) / h
    forgets, holds = style(0) | {"marker": ""}, style(2) | {"marker": "", "linestyle": "-"}
    axes.plot([0, 1], [0, 0], label="one equilibrium: it forgets", linewidth=2.5, **forgets)
    axes.plot(feedback, h, label="two: it holds a bit", linewidth=2.5, **holds)
    axes.plot(feedback, -h, linewidth=2.5, **holds)
    axes.plot([1, 3], [0, 0], color="0.5", linestyle=":", label="unstable")
    for feedback_shown, start in ((0.6, 0.9), (0.6, -0.9), (2.2, 0.15), (2.2, -0.15)):
        end = 0.0 if feedback_shown < 1 else np.sign(start) * 0.9
        arrow = {"arrowstyle": "->", "color": COLORS[3], "linewidth": 1.5}
        axes.annotate("", xy=(feedback_shown, end), xytext=(feedback_shown, start), arrowprops=arrow)
    finish(axes, xlabel="feedback a", ylabel="state h", xlim=(0, 3), ylim=(-1.1, 1.1))
    axes.get_legend().remove()
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return save(figure, output)


def warmed_up() -> dict[str, nn.Module]:
    """Return one GRU as it is initialised, and copies after each of two warmups."""
    torch.manual_seed(0)
    network, sequences = RecurrentNetwork(1, HIDDEN, 1), torch.randn(LENGTH, 512, 1)
    networks: dict[str, nn.Module] = {}
    for name in LABELS:
        networks[name] = copy.deepcopy(network)
        if name in WARMUPS:
            warmup(networks[name], sequences, **WARMUPS[name])
    return networks


def draw_portraits(networks: Mapping[str, nn.Module], output: Path) -> Path:
    """Draw where the states of each network go."""
    figure, axes = plt.subplots(1, len(networks), figsize=(9, 3.2), layout="constrained")
    sequences = torch.randn(LENGTH, STATES, 1, generator=torch.Generator().manual_seed(1))
    for panel, (name, network) in zip(axes, networks.items(), strict=True):
        draw_portrait(panel, name, portrait(network, sequences, steps=STEPS))
    return save(figure, output)


def draw_memory(networks: Mapping[str, nn.Module], output: Path) -> Path:
    """Draw which share of the distance of two histories is left, against the steps that both read since."""
    figure, (axes,) = panels(3.6)
    sequences = torch.randn(LENGTH, STATES, 1, generator=torch.Generator().manual_seed(1))
    for index, (name, network) in enumerate(networks.items()):
        spans = memory_horizon(network, sequences, limit=LIMIT).forward
        shares = np.clip(spans.median_shares[1:], 1e-4, None)
        axes.plot(spans.looks[1:], shares, label=f"{LABELS[name]}: {spans}", **style(index) | {"marker": ""})
    axes.axhline(1e-3, color="0.5", linewidth=0.8)
    axes.text(LIMIT, 1.15e-3, "counts as forgotten", fontsize=8, color="0.4", ha="right")
    words = {"xlabel": "steps that both histories read since", "ylabel": "share that is left"}
    finish(axes, **words, xscale="log", yscale="log", ylim=(3e-4, 5))
    axes.legend(loc="center right", fontsize=8)
    return save(figure, output)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    draw_equilibria(PICTURES / "equilibria.png")
    taken = warmed_up()
    draw_portraits(taken, PICTURES / "portraits.png")
    draw_memory(taken, PICTURES / "memory.png")
