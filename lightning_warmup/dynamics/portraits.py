"""Portraits of a network: where its states go under a constant input, and in how many places they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_warmup.dynamics.attractors import KINDS, classify, spectral_radii, trajectory
from lightning_warmup.dynamics.functional import at_rest, vaa
from lightning_warmup.dynamics.reachable import draw_reachable_states, in_mode
from lightning_warmup.dynamics.settling import settle, split_states
from lightning_warmup.engine.state import map_state

FOLDER = "portraits"
"""Folder in a run folder that holds its portraits."""

SHOWN = 100
"""Number of first steps whose path is drawn."""

RADII = 4
"""Fixed points that the spectral radius is taken at: a Jacobian has as many columns as there are units."""


@dataclass(frozen=True)
class Portrait:
    """What N states do under one constant input.

    Attributes:
        path: States before and after each of the first K steps, in the first two principal components of all that
            is shown, ``(K + 1, N, 2)``.
        settled: States after all M steps, in the same components, ``(N, 2)``.
        resting: Which of them are at rest, ``(N,)``.
        variance: Share of the variance that each of the two components has, ``(2,)``.
        steps: Numbers of constant steps that were looked at, the last of which is M, ``(S,)``.
        vaa: VAA after so many steps, ``(S,)``.
        resting_fraction: Fraction of states at rest after so many steps, ``(S,)``.
        kind: What each state does after M steps, an index into :data:`KINDS`, ``(N,)``; empty in old files.
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
        """Share of the states that each kind of attractor has."""
        return {name: float((self.kind == index).mean()) for index, name in enumerate(KINDS)}

    @property
    def spectral_radius(self) -> float | None:
        """Greatest spectral radius at a fixed point; None if there is no fixed point."""
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
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 2000,
    generator: torch.Generator | None = None,
) -> Portrait:
    """Portray a recurrent network on N sequences, in eval mode, under one draw of the cuts and the constant input.

    Args:
        rnn: Network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs, ``(T, N, I)``, or ``(N, T, I)`` if the network has ``batch_first``.
        lengths: Lengths of prefixes to use instead of random cuts, ``(N,)``.
        steps: Number M of constant steps.
        generator: Source of the cuts and the constant input; by default one of seed 0.

    Returns:
        The portrait.
    """
    with in_mode(rnn, training=False):
        layers, states, input = draw_reachable_states(rnn, sequences, lengths, 1, generator)
        shown = min(SHOWN, steps)
        path = trajectory(layers, input, states, shown + 1)
        numbers = [number for number in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if number < steps] + [
            steps
        ]
        looks = [(path[number], path[number + 1]) for number in numbers if number <= shown]
        path, taken, here = path[:-1], shown, path[shown]
        for number in numbers[len(looks) :]:
            here, ahead = settle(layers, split_states(here, states), input, number - taken)
            looks.append((here, ahead))
            taken = number
        settled = split_states(here, states)
        kind = classify(layers, input, settled)[0]
        fixed = torch.nonzero(kind == KINDS.index("fixed point")).flatten()[:RADII]
        at_fixed = [map_state(lambda tensor: tensor.index_select(1, fixed), state) for state in settled]
        radii = spectral_radii(layers, input[fixed], at_fixed) if len(fixed) else torch.empty(0)
    resting = [at_rest(*look) for look in looks]
    components, variance = _principal_components(torch.cat([path.flatten(0, 1), here]))
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
    centred = (rows - rows.mean(0)).double().cpu()
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    signs = torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))
    basis = (vectors * signs)[:, -2:].flip(1)
    components = torch.nn.functional.pad(centred @ basis, (0, 2 - basis.shape[1]))
    shares = torch.nn.functional.pad(values[-2:].flip(0), (0, 2 - basis.shape[1])).clamp(min=0)
    return components, shares / values.clamp(min=0).sum().clamp(min=torch.finfo(values.dtype).tiny)
