"""Finds boxes that prove a network right for every string of a language."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.check import (
    STILL,
    Boxes,
    Finding,
    Moved,
    check,
    images,
    leaves,
    live_edges,
    misleads,
)
from lightning_warmup.proofs.explore import Met, explore
from lightning_warmup.proofs.machine import Machine

RADII = 0.2, 0.1, 0.05, 0.02, 0.01, 3e-3, 1e-3, 1e-4
"""How far boxes are drawn around the states that were met, the first that gives a proof."""
AGES = 0, 4, 16, 64, 200
"""Symbols before which states are not looked at: those that are on their way."""
WIDENINGS = 60
"""Most times that boxes are widened."""


@dataclass(frozen=True)
class Certificate:
    """What is known of a network on a language, by the theorem of :mod:`lightning_warmup.proofs.check`.

    Attributes:
        proven: Whether every string of ``from_length`` symbols or more is answered right, at every step.
        from_length: That number, the least one; None without a proof.
        entered: Symbols after which all states are in their boxes; None without a proof.
        radius: Least half-width of a box, over units and states that strings come back to; None without a proof.
        median_radius: Median of the half-widths.
        disturbance: By how much every unit may be moved in every step, from ``entered`` on.
        input_disturbance: By how much every entry of the inputs may be moved in every step from there on.
        arithmetic: In which the statement holds: "real", with the weights as they are stored.
        seconds: Time that it took.
        condition: What is not met, where there is no proof.
        counterexample: Without a proof, the shortest string met on which the network errs in float64.
        automaton: The language.
        boxes: The boxes; those of states that are left for ever before they are needed are empty.
    """

    proven: bool
    from_length: int | None
    entered: int | None
    radius: float | None
    median_radius: float | None
    disturbance: float
    input_disturbance: float
    arithmetic: str
    seconds: float
    condition: str | None
    counterexample: tuple[str, ...] | None
    automaton: Automaton = field(repr=False, compare=False)
    boxes: Boxes | None = field(repr=False, compare=False)

    def summary(self) -> dict[str, Any]:
        """Return all but the language and the boxes, as a report keeps it."""
        return {name: value for name, value in vars(self).items() if name not in ("automaton", "boxes")}

    def save(self, path: str | Path) -> None:
        """Write the boxes, with the language and what may be moved, as an ``.npz`` file.

        Raises:
            ValueError: If nothing is proven.
        """
        if self.boxes is None:
            raise ValueError(f"proven={self.proven}: there are no boxes to save")
        arrays: dict[str, Any] = self.automaton.to_arrays()
        arrays |= {"lower": self.boxes.lower.numpy(), "upper": self.boxes.upper.numpy()}
        arrays |= {"disturbance": self.disturbance, "input_disturbance": self.input_disturbance}
        np.savez_compressed(path, **arrays)


def read(path: str | Path) -> tuple[Automaton, Boxes, list[Moved]]:
    """Read what :meth:`Certificate.save` wrote: the language, the boxes, and what may be moved.

    Raises:
        ValueError: If the file is something else or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            boxes = Boxes(*(torch.from_numpy(arrays[name]) for name in ("lower", "upper")))
            moved = _moved(float(arrays["disturbance"]), float(arrays["input_disturbance"]))
            return Automaton.from_arrays(arrays), boxes, moved
    except OSError:
        raise
    except Exception as error:  # of many kinds, by what the file is
        raise ValueError(f"{path}: not a certificate, or damaged ({type(error).__name__})") from None


def check_again(network: nn.Module, path: str | Path, readout: nn.Linear | None = None) -> Finding:
    """Check saved boxes against a network, from its weights and the file alone.

    Raises:
        ValueError: If the file has no boxes, or they are of another size than the network's states.
    """
    automaton, boxes, moved = read(path)
    machine, shape = Machine(network, readout), tuple(boxes.lower.shape)
    expected = len(automaton.states), machine.units
    if boxes.lower.shape != expected or boxes.upper.shape != expected:
        raise ValueError(f"boxes={shape}: must be of shape {expected}, states and units")
    return check(machine, automaton, boxes, moved)


@torch.no_grad()
def certify(
    network: nn.Module,
    automaton: Automaton,
    readout: nn.Linear | None = None,
    radii: Sequence[float] = RADII,
    seed: int = 0,
    boxes: Boxes | None = None,
) -> Certificate:
    """Look for boxes that prove a network right for every string of an automaton.

    The network is followed through many strings, in float64. Boxes are drawn around the states that it meets
    after the first symbols, and widened until nothing leaves them. What was found is then checked as
    :func:`lightning_warmup.proofs.check.check` does; how it was found does not matter for the proof.

    Args:
        network: A :class:`RecurrentNetwork`, or ``torch.nn.GRU``, ``LSTM`` or ``RNN`` with a ``readout``.
        automaton: The language and its answers.
        readout: The linear layer that answers; None is the network's own.
        radii: How far boxes are drawn around what is met; the first that gives a proof is taken.
        seed: Seed of the strings.
        boxes: Boxes that are tried before any others, such as those of a training for them; those of states that
            strings do not come back to are drawn anew.

    Raises:
        ValueError: If the sizes of the network are not those of the automaton, or it is another module.
    """
    start = time.perf_counter()
    machine = Machine(network, readout)
    check_sizes(machine, automaton)
    counterexample, finding = None, Finding("boxes=None: none are given")
    if boxes is not None:
        boxes = fill(machine, automaton, boxes)
        finding = check(machine, automaton, boxes)
    if finding.condition is not None:
        met = explore(machine, automaton, seed=seed)
        boxes, finding = _search(machine, automaton, met, radii)
        counterexample = None if boxes is not None else met.counterexample
    found: dict[str, Any] = {"disturbance": 0.0, "input_disturbance": 0.0}
    found |= {"radius": None, "median_radius": None}
    if boxes is not None:
        boxes, found = _margins(machine, automaton, boxes)
    return Certificate(
        proven=boxes is not None,
        from_length=finding.from_length,
        entered=finding.entered,
        arithmetic="real",
        seconds=time.perf_counter() - start,
        condition=finding.condition,
        counterexample=counterexample,
        automaton=automaton,
        boxes=boxes,
        **found,
    )


def _search(
    machine: Machine, automaton: Automaton, met: Met, radii: Sequence[float]
) -> tuple[Boxes | None, Finding]:
    """Return the widest boxes that are a proof and what it says, or None and what stands against the last ones."""
    recurrent = automaton.recurrent
    finding = Finding("states: strings come back to none of them, or do not reach one that has a loop")
    for radius in radii:
        for age in AGES if recurrent else ():
            boxes = met.boxes(len(automaton.states), age, radius, recurrent)
            if not boxes.live[recurrent].all():
                continue
            boxes = fill(machine, automaton, widen(machine, automaton, boxes))
            finding = check(machine, automaton, boxes)
            if finding.condition is None:
                return boxes, finding
    return None, finding


def widen(machine: Machine, automaton: Automaton, boxes: Boxes) -> Boxes:
    """Widen the boxes of states that strings come back to until no image of one leaves another, or it is no use.

    An end that goes on moving is moved twice as far each time: what creeps is so overtaken.
    """
    ends = torch.stack([-boxes.lower, boxes.upper])  # both grow
    pace = torch.ones_like(ends)
    again = torch.zeros(len(automaton.states), dtype=torch.bool)
    again[automaton.recurrent] = True
    for _ in range(WIDENINGS):
        boxes = Boxes(-ends[0], ends[1])
        if misleads(machine, automaton, boxes):
            break
        reached = hulls(machine, automaton, boxes)
        excess = (torch.stack([-reached.lower, reached.upper]) - ends).clamp(min=0) * again[:, None]
        if not bool((excess > 0).any()):
            break
        pace = torch.where(excess > 0, 2 * pace, pace)
        ends = ends + pace * excess
    return boxes


def hulls(machine: Machine, automaton: Automaton, boxes: Boxes, moved: Moved = STILL) -> Boxes:
    """Return for each state the hull of the images that reach it."""
    edges = live_edges(automaton, boxes)
    after = images(machine, automaton, boxes.of(edges[:, 0]), edges[:, 1], moved)
    return Boxes.around(edges[:, 2], after, len(automaton.states))


def fill(machine: Machine, automaton: Automaton, boxes: Boxes, moved: Sequence[Moved] = (STILL,)) -> Boxes:
    """Give the states that strings do not come back to the images that reach them."""
    once = torch.ones(len(automaton.states), dtype=torch.bool)
    once[automaton.recurrent] = False
    for _ in range(int(once.sum())):
        reached = [hulls(machine, automaton, boxes, each) for each in moved]
        lower = torch.stack([each.lower for each in reached]).amin(0)
        upper = torch.stack([each.upper for each in reached]).amax(0)
        boxes = Boxes(
            torch.where(once[:, None], lower, boxes.lower), torch.where(once[:, None], upper, boxes.upper)
        )
    return boxes


def _margins(machine: Machine, automaton: Automaton, boxes: Boxes) -> tuple[Boxes, dict[str, float]]:
    """Return the boxes as they are with the greatest disturbances, and these with the radii."""

    def holds(units: float, inputs: float) -> Boxes | None:
        moved = _moved(units, inputs)
        wider = fill(machine, automaton, boxes, moved)
        lost = misleads(machine, automaton, wider) or any(leaves(machine, automaton, wider, m) for m in moved)
        return None if lost else wider

    units = _greatest(lambda value: holds(value, 0.0) is not None)
    inputs = _greatest(lambda value: holds(units, value) is not None)  # on the same boxes
    halves = ((boxes.upper - boxes.lower) / 2)[automaton.recurrent]
    wider = holds(units, inputs)
    assert wider is not None
    return wider, {
        "disturbance": units,
        "input_disturbance": inputs,
        "radius": float(halves.min()),
        "median_radius": float(halves.median()),
    }


def _moved(units: float, inputs: float) -> list[Moved]:
    """Return what may be moved, one after the other: not both at once."""
    return [STILL, Moved(units, 0.0), Moved(0.0, inputs)]


def _greatest(holds: Callable[[float], bool]) -> float:
    """Return the greatest value that holds, to a hundredth of it, 0 if it is below 1e-12."""
    low, high = -40.0, 1.0  # of the exponent of 2
    if not holds(2**low):
        return 0.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(2**middle) else (low, middle)
    return float(2**low)


def check_sizes(machine: Machine, automaton: Automaton) -> None:
    """Raise a ValueError unless a network takes the symbols of an automaton and gives its answers."""
    features, outputs = machine.sizes
    if automaton.lower.shape[1] != features:
        raise ValueError(
            f"symbols: have {automaton.lower.shape[1]} entries, must be {features} as the network takes"
        )
    most = max(automaton.answers.values(), default=0)
    if most >= outputs:
        raise ValueError(f"answers: name output {most}, must be below {outputs} as the network gives")
