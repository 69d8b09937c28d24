"""Portraits of a network: the paths of its states under a constant input, and the places where they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_warmup.dynamics.functional import at_rest, vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, split_states, trajectory
from lightning_warmup.dynamics.settling import KINDS, classify, settle, spectral_radii
from lightning_warmup.networks.layers import Layer
from lightning_warmup.networks.mode import in_mode

FOLDER = "portraits"  # in a run folder
SHOWN = 100  # steps at the start whose path is drawn
LOOKS = (1, 3, 10, 30, SHOWN, 300, 1000, 3000, 10000)  # numbers of steps for measurements, besides M
RADII = 4  # fixed points at which the spectral radius is computed: a Jacobian has one column per unit


@dataclass(frozen=True)
class Portrait:
    """The behaviour of N states under one constant input.

    Attributes:
        path: States before and after each of the first K steps, in the first two principal components of all shown
            states, ``(K + 1, N, 2)``.
        settled: States after all M steps, in the same components, ``(N, 2)``.
        resting: Which settled states are at rest, ``(N,)``.
        variance: Share of the variance in each of the two components, ``(2,)``.
        steps: Numbers of constant steps at the S measurements; the last is M, ``(S,)``.
        vaa: VAA at each measurement, ``(S,)``.
        resting_fraction: Fraction of resting states at each measurement, ``(S,)``.
        kind: Behaviour of each state after M steps, an index into :data:`KINDS`, ``(N,)``; empty in old files.
        radii: Spectral radii at up to four of the fixed points, ``(R,)``; empty in old files.
    """

    path: NDArray[np.float32]
    settled: NDArray[np.float32]
    resting: NDArray[np.bool_]
    variance: NDArray[np.float64]
    steps: NDArray[np.int64]
    vaa: NDArray[np.float64]
    resting_fraction: NDArray[np.float64]
    kind: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    radii: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def attractors(self) -> dict[str, float]:
        """Share of the states at each kind of attractor."""
        return {name: float((self.kind == index).mean()) for index, name in enumerate(KINDS)}

    @property
    def spectral_radius(self) -> float | None:
        """Largest spectral radius at a fixed point; None if there is no fixed point."""
        return float(self.radii.max()) if len(self.radii) else None

    def save(self, path: Path) -> None:
        """Write the portrait to an ``.npz`` file."""
        content = asdict(self)
        content["rest"] = content.pop("resting_fraction")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **content)

    @classmethod
    def load(cls, path: Path) -> Portrait:
        """Read a portrait from its file."""
        with np.load(path) as file:
            content = dict(file)
        return cls(resting_fraction=content.pop("rest"), **content)


@torch.no_grad()
def portrait(
    rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 2000,
    generator: torch.Generator | None = None,
) -> Portrait:
    """Portray a recurrent network on N sequences, in eval mode, with one draw of the cuts and the constant input.

    For the arguments, see :func:`lightning_warmup.dynamics.measure.multistability`.
    """
    with in_mode(rnn, training=False):
        layers, states, input = draw_reachable_states(rnn, sequences, lengths, 1, generator)
        shown = min(SHOWN, steps)
        numbers = [number for number in LOOKS if number < steps] + [steps]
        path = trajectory(layers, input, states, shown + 1)
        looks = [(path[number], path[number + 1]) for number in numbers if number <= shown]
        for taken, number in pairwise(number for number in numbers if number >= shown):
            looks.append(settle(layers, split_states(looks[-1][0], states), input, number - taken))
        settled = looks[-1][0]
        kind, _ = classify(layers, input, split_states(settled, states))
        fixed = torch.nonzero(kind == KINDS.index("fixed point")).flatten()[:RADII]
        radii = spectral_radii(layers, input[fixed], split_states(settled[fixed], states))
    resting = [at_rest(*look) for look in looks]
    components, variance = _principal_components(torch.cat([path[:-1].flatten(0, 1), settled]))
    drawn = components.view(-1, len(input), 2).float().numpy()
    return Portrait(
        path=drawn[:-1],
        settled=drawn[-1],
        resting=resting[-1].cpu().numpy(),
        variance=variance.numpy(),
        steps=np.array(numbers),
        vaa=np.array([float(vaa(here)) for here, _ in looks]),
        resting_fraction=np.array([float(mask.float().mean()) for mask in resting]),
        kind=kind.cpu().numpy(),
        radii=radii.numpy(),
    )


def _principal_components(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first two principal components of rows, ``(R, H)`` to ``(R, 2)``, and their shares of variance."""
    missing = max(0, 2 - rows.shape[1])  # for a single unit, the second component is 0
    centred = torch.nn.functional.pad((rows - rows.mean(0)).double().cpu(), (0, missing))
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    values, basis = values.clamp(min=0), vectors[:, -2:].flip(1)
    signs = torch.sign(basis.gather(0, basis.abs().argmax(0, keepdim=True)))
    shares = values[-2:].flip(0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return centred @ (basis * signs), shares
