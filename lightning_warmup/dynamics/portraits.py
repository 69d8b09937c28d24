"""Portraits of a network: where its states go under a constant input, and in how many places they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_warmup.dynamics.attractors import trajectory
from lightning_warmup.dynamics.functional import at_rest, vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states
from lightning_warmup.dynamics.settling import settle

MOMENTS = {"before": "initialised", "pretrain": "pretrained", "warmup": "warmed up", "final": "trained"}
"""The moments a network is portrayed at, in their order, and what it is then."""


FOLDER = "portraits"
"""Folder in a run folder that the portraits are kept in."""


SHOWN = 100
"""First constant steps of which the trajectories are kept."""


@dataclass(frozen=True)
class Portrait:
    """What N states do under one constant input.

    Attributes:
        path: The states before and after each of the first steps, in the first two principal components of all
            that is shown, ``(K + 1, N, 2)``.
        settled: The states after all M steps, in the same components, ``(N, 2)``.
        resting: Which of them are at rest, ``(N,)``.
        variance: Share of the variance that each of the two components has, ``(2,)``.
        steps: Numbers of constant steps, the last of which is M, ``(S,)``.
        vaa: The VAA after so many steps, ``(S,)``.
        rest: The fraction of states at rest after so many steps, ``(S,)``.
    """

    path: NDArray[np.float32]
    settled: NDArray[np.float32]
    resting: NDArray[np.bool_]
    variance: NDArray[np.float64]
    steps: NDArray[np.int64]
    vaa: NDArray[np.float64]
    rest: NDArray[np.float64]


@torch.no_grad()
def portrait(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 2000,
    generator: torch.Generator | None = None,
) -> Portrait:
    """Portrays a recurrent network on N sequences, under one draw of the cuts and the constant input.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs, ``(T, N, I)``, or ``(N, T, I)`` if the network has ``batch_first``.
        lengths: Use these prefixes, ``(N,)``, instead of random cuts.
        steps: Number M of constant steps.
        generator: Source of the cuts and the constant input; by default one of seed 0.

    Returns:
        The portrait.
    """
    layers, states, input = draw_reachable_states(rnn, sequences, lengths, 1, generator)
    count = len(input)
    path = trajectory(layers, states, input, min(SHOWN, steps))
    numbers = [number for number in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if number < steps] + [steps]
    pairs = [
        (path[number], path[number + 1]) if number < len(path) - 1 else settle(layers, states, input, number)
        for number in numbers
    ]
    resting = [at_rest(here, ahead) for here, ahead in pairs]
    settled = pairs[-1][0]
    shown, variance = _principal_components(torch.cat([path.flatten(0, 1), settled]))
    return Portrait(
        path=shown[:-count].view(len(path), count, 2).float().numpy(),
        settled=shown[-count:].float().numpy(),
        resting=resting[-1].cpu().numpy(),
        variance=variance.numpy(),
        steps=np.array(numbers),
        vaa=np.array([float(vaa(here)) for here, _ in pairs]),
        rest=np.array([float(rest.float().mean()) for rest in resting]),
    )


def _principal_components(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in their first two principal components, ``(R, D)`` to ``(R, 2)``, and the shares of these, ``(2,)``."""
    centred = (rows - rows.mean(0)).double().cpu()
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    signs = torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))
    basis = (vectors * signs)[:, -2:].flip(1)
    components = torch.nn.functional.pad(centred @ basis, (0, 2 - basis.shape[1]))
    shares = torch.nn.functional.pad(values[-2:].flip(0), (0, 2 - basis.shape[1])).clamp(min=0)
    return components, shares / values.clamp(min=0).sum().clamp(min=torch.finfo(values.dtype).tiny)


def read_portraits(folder: Path) -> dict[str, Portrait]:
    """The portraits that there are in a run folder, by their moment."""
    portraits = {}
    for moment in MOMENTS:
        path = folder / FOLDER / f"{moment}.npz"
        if path.is_file():
            with np.load(path) as content:
                portraits[moment] = Portrait(**content)
    return portraits


def read_portrait_before_training(folder: Path) -> Portrait | None:
    """The last portrait in a run folder of the untrained network, None if there is none."""
    portraits = read_portraits(folder)
    portraits.pop("final", None)
    return list(portraits.values())[-1] if portraits else None
