"""Trains a network until it can be proven right for every string of a language."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.certify import Certificate, certify, check_sizes, fill, widen
from lightning_warmup.proofs.check import STILL, Boxes, Front, Moved, advance, check, merged
from lightning_warmup.proofs.check import STRINGS as MOST_STRINGS
from lightning_warmup.proofs.explore import explore
from lightning_warmup.proofs.intervals import Interval
from lightning_warmup.proofs.machine import Machine
from lightning_warmup.proofs.outputs import LEAD, changed, run
from lightning_warmup.proofs.practise import practise
from lightning_warmup.proofs.strings import Strings, draw

LR, BOXES_LR = 3e-3, 1e-2
"""Learning rates of Adam, for weights and for boxes; in the second half they fall to a twentieth."""
ROOM, DISTURBANCE = 0.2, 1e-3
"""What is asked for, beside the lead of an answer: room of images in their boxes, in radii, and a disturbance."""
LEAVING, ENTERING, SLOW, MISLEADING = 0.3, 0.3, 0.01, (30.0, 3.0)
"""Weights of images that leave a box, of strings that are not in their boxes, of units that tolerate less than the
disturbance, and of answers that do not lead: at first, and from a third of the steps on. Boxes of different answers
that merge at first do not part again; later boxes must be able to move."""
STRINGS = 8
"""Strings of a step."""
FOLLOWED, FAR = 8, 0.3
"""Symbols that bounds on all strings are followed for, and how far from boxes they may end to look for a proof."""
LOOK = 10
"""Steps between two looks whether there is a proof."""
NEARLY = 1e-3
"""By how much images may leave boxes that are worth widening."""
SPREAD = 0.1
"""Greatest half-width, beside the radius, that boxes start with for what was met."""
FARTHEST = 4.0
"""Greatest middle of a box at first, either way: a cell of an LSTM may count for ever, and tanh hides it. Units of
other cells never get so far."""
ATTEMPTS = 4
"""Attempts to find a proof; before all but the first the network practises."""
LEAST = 1e-13
"""Room below which its logarithm is not looked at, for roundings."""


class Losses(NamedTuple):
    """What still stands against a proof; each is 0 where it holds with all that is asked for."""

    leaving: Tensor
    slow: Tensor
    misleading: Tensor
    proves: bool
    """Whether the boxes may be widened to a proof, but for the strings that are to enter them."""


def prove(
    network: nn.Module,
    automaton: Automaton,
    longest: int,
    steps: int = 1000,
    radius: float = 0.05,
    readout: nn.Linear | None = None,
    seed: int = 0,
) -> Certificate:
    """Train a network, in place, until it is proven right for every string of an automaton.

    A box, of the given radius at least, is drawn for each state that strings come back to. Interval bounds have
    gradients: weights and boxes move until images stay in their boxes and right answers lead on all of them, with
    something to spare. Meanwhile strings of ``longest`` symbols are to end in their boxes; where there are too many
    of them, bounds on all of them are to enter the boxes within a few symbols. Wherever the network was right on
    strings up to ``longest``, its outputs are to stay. If no proof is found, it is tried up to three times more
    from a network that has learnt to hold what it remembers: see :mod:`lightning_warmup.proofs.practise`.

    It ends once there is a proof that tolerates a disturbance of 5e-4 in every unit and step; else it keeps the
    last proof that there was. A network without a proof at the end is left as it was.

    Args:
        network: A :class:`RecurrentNetwork`, or ``torch.nn.GRU``, ``LSTM`` or ``RNN`` with a ``readout``.
        automaton: The language and its answers.
        longest: Symbols of strings that the network is known to be right on, such as those of its training.
        steps: Most gradient steps with boxes, in each attempt.
        radius: Least half-width of the boxes.
        readout: The linear layer that answers; None is the network's own.
        seed: Seed of the strings.

    Raises:
        ValueError: If a number is out of range, no string of the language goes on for ever, or as
            :func:`lightning_warmup.proofs.certify.certify`.
    """
    for name, value, least in (("longest", longest, 1), ("steps", steps, 1)):
        if value < least:
            raise ValueError(f"{name}={value}: must be at least {least}")
    if radius <= 0:
        raise ValueError(f"radius={radius}: must be above 0")
    if not automaton.recurrent:
        raise ValueError("transitions: must come back to a state, or there is nothing to train for")
    check_sizes(Machine(network, readout), automaton)
    parameters = [*network.parameters(), *(() if readout is None else readout.parameters())]
    before = [parameter.detach().clone() for parameter in parameters]
    teacher = copy.deepcopy((network, readout))
    try:
        for attempt in range(ATTEMPTS):
            if attempt:
                _restore(parameters, before)
                practise(network, readout, teacher, automaton, longest, seed + attempt)
            training = _Training(network, readout, teacher, automaton, longest, radius, seed)
            best = _train(training, parameters, steps)
            if best is not None:
                break
    except BaseException:  # also if the user ends it
        _restore(parameters, before)
        raise
    boxes = None
    if best is not None:
        weights, boxes = best
        _restore(parameters, weights)
    found = certify(network, automaton, readout, seed=seed, boxes=boxes)
    if not found.proven:
        _restore(parameters, before)
    return found


def _train(
    training: _Training, parameters: list[nn.Parameter], steps: int
) -> tuple[list[Tensor], Boxes] | None:
    """Take the steps; return the weights and boxes of the best proof."""
    groups = [{"params": parameters, "lr": LR}, {"params": training.trained, "lr": BOXES_LR}]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.05 + 0.95 * min(1.0, 2 * (1 - step / steps))
    )
    best = None
    for step in range(steps + 1):
        with torch.enable_grad():
            loss, proves = training.loss(step / steps)
        if proves and step % LOOK == 0 and (found := training.proof()) is not None:
            boxes, tolerant = found
            best = [parameter.detach().clone() for parameter in parameters], boxes
            if tolerant:
                break
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    return best


class _Training:
    """The losses of a network, its teacher, and the boxes that are trained with it."""

    def __init__(
        self,
        network: nn.Module,
        readout: nn.Linear | None,
        teacher: tuple[nn.Module, nn.Linear | None],
        automaton: Automaton,
        longest: int,
        radius: float,
        seed: int,
    ) -> None:
        self.network, self.readout, self.teacher = network, readout, teacher
        self.automaton, self.radius = automaton, radius
        self.longest, self.strings = longest, draw(automaton, STRINGS, longest, seed)
        self.recurrent = torch.tensor(automaton.recurrent)
        again = torch.zeros(len(automaton.states), dtype=torch.bool)
        again[self.recurrent] = True
        self.again, self.edges = again, automaton.edges[again[automaton.edges[:, 0]]]
        self.many = automaton.strings(longest) > MOST_STRINGS
        met = explore(Machine(network, readout), automaton, symbols=4 * longest, seed=seed)
        hulls = met.boxes(len(again), 0 if self.many else longest, 0.0, automaton.recurrent)
        lower, upper = (end[self.recurrent].nan_to_num(0.0, 0.0, 0.0) for end in hulls)
        self.centre = ((lower + upper) / 2).clamp(-FARTHEST, FARTHEST).requires_grad_()
        self.extra = ((upper - lower) / 2).clamp(max=SPREAD).requires_grad_()
        self.trained = [self.centre, self.extra]

    def boxes(self) -> Boxes:
        """Return the boxes, empty for states that strings do not come back to."""
        empty = self.centre.new_full((len(self.again), self.centre.shape[1]), torch.inf)
        half = self.radius + self.extra.abs()
        return Boxes(
            empty.index_copy(0, self.recurrent, self.centre - half),
            (-empty).index_copy(0, self.recurrent, self.centre + half),
        )

    def loss(self, progress: float) -> tuple[Tensor, bool]:
        """Return the loss of a step, and whether the boxes may be a proof, by the share of steps taken."""
        machine, boxes = Machine(self.network, self.readout), self.boxes()
        bounds = self._bounds(machine, boxes)
        strings, proves = next(self.strings), bounds.proves
        changed, final = self._changed(strings)
        if self.many:
            entering = self._all_strings(machine, boxes)
            proves = proves and bool(entering < FAR)
        else:
            entering = self._ends(boxes, strings, machine.joined(final))
        first, later = MISLEADING
        misleading = later + (first - later) * max(0.0, 1 - 3 * progress)
        loss = LEAVING * bounds.leaving + misleading * bounds.misleading + SLOW * bounds.slow
        return loss + ENTERING * entering + changed, proves

    @torch.no_grad()
    def proof(self) -> tuple[Boxes, bool] | None:
        """Return boxes that are a proof, and whether they tolerate half of the disturbance asked for."""
        machine = Machine(self.network, self.readout)
        trained = widen(machine, self.automaton, self.boxes())
        for moved in ([STILL, Moved(DISTURBANCE / 2)], [STILL]):
            boxes = fill(machine, self.automaton, trained, moved)
            if check(machine, self.automaton, boxes, moved).condition is None:
                return boxes, len(moved) > 1
        return None

    def _bounds(self, machine: Machine, boxes: Boxes) -> Losses:
        """Return how far images of boxes leave boxes, and leads on them fall short."""
        source, symbol, target = self.edges.unbind(1)
        inputs = Interval(self.automaton.lower[symbol], self.automaton.upper[symbol])
        after, towards = machine.step_towards(inputs, boxes.of(source))
        leads = [(after[~self.again[target]], target[~self.again[target]])]
        leads.append((boxes.of(self.recurrent), self.recurrent))
        lead = torch.cat([self._leads(machine, *each) for each in leads])
        again = self.again[target]
        before, box = boxes.of(source[again]), boxes.of(target[again])
        moves = ((before.lower + before.upper) - (box.lower + box.upper)).abs() / 2
        held = moves < self.radius  # the unit is in about the same place before and after
        gap = ROOM * self.radius
        leaving = torch.where(held, _outside(towards[again], box, gap), _outside(after[again], box, gap))
        leaving = leaving + held * _outside(after[again], box, 0.0)
        room = torch.minimum(after[again].lower - box.lower, box.upper - after[again].upper)
        slow = torch.relu(torch.log(DISTURBANCE / room.clamp(min=LEAST)))
        return Losses(
            _compressed(leaving).sum(),
            torch.where(held & (room > LEAST), slow, 0 * slow).sum(),
            _short(lead),
            bool((room >= -NEARLY).all() & (lead > 0).all()),
        )

    def _leads(self, machine: Machine, values: Interval, states: Tensor) -> Tensor:
        """Return the least leads of right answers, where one is asked for."""
        answers = self.automaton.answer_of[states]
        asked = answers >= 0
        if not asked.any():
            return values.lower.new_zeros(0)
        return machine.leads(values[asked], answers[asked]).lower.flatten()

    def _changed(self, strings: Strings) -> tuple[Tensor, Any]:
        """Return how far outputs are from the teacher's and from right ones, and the network's final states."""
        outputs, final = run(self.network, self.readout, strings.inputs)
        with torch.no_grad():
            taught, _ = run(*self.teacher, strings.inputs)
        return changed(outputs, taught, self.automaton, strings.states), final

    def _ends(self, boxes: Boxes, strings: Strings, final: Tensor) -> Tensor:
        """Return how far final states ``(N, U)`` of the longest strings are from boxes."""
        last = strings.states[-1]
        enters = self.again[last] & (len(strings.states) == self.longest)
        values = final[enters]
        return _outside(Interval(values, values), boxes.of(last[enters]), ROOM * self.radius).sum()

    def _all_strings(self, machine: Machine, boxes: Boxes) -> Tensor:
        """Return how far bounds on all strings end from boxes, and leads on them fall short until then."""
        zero = self.centre.new_zeros(1, machine.units)
        front, loss = Front(torch.tensor([0]), Interval(zero, zero)), self.centre.new_zeros(())
        for _ in range(FOLLOWED):
            front = merged(self.automaton, advance(machine, self.automaton, front))
            loss = loss + _short(self._leads(machine, front.values, front.states))
            far = _outside(front.values, boxes.of(front.states), ROOM * self.radius).sum(1)
            if not (left := far > 0).any():
                return loss
            front, far = Front(front.states[left], front.values[left]), far[left]
        return loss + far[self.again[front.states]].sum()


def _outside(values: Interval, box: Interval, gap: float) -> Tensor:
    """Return how far values reach beyond a box that is smaller by a gap all around."""
    return torch.relu(box.lower + gap - values.lower) + torch.relu(values.upper + gap - box.upper)


def _compressed(distance: Tensor) -> Tensor:
    """Return distances that grow as their logarithm from ``FARTHEST`` on: candidates of an LSTM may be far."""
    return distance.clamp(max=FARTHEST) + FARTHEST * torch.log(distance.clamp(min=FARTHEST) / FARTHEST)


def _short(leads: Tensor) -> Tensor:
    """Return how far leads fall short in all; it is smooth at what is asked for."""
    gap = torch.relu(LEAD - leads)
    return huber_loss(gap, torch.zeros_like(gap), reduction="sum", delta=LEAD) / LEAD


@torch.no_grad()
def _restore(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
