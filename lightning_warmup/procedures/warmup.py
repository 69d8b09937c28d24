"""Warmup: a few gradient steps that spread the states a network settles in (arXiv 2106.01001, section 4)."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import fewest, gather_batch, take_from_first, world_size
from lightning_warmup.dynamics.measure import Multistability, retained
from lightning_warmup.dynamics.reachable import check_sequences
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.layout import time_first
from lightning_warmup.networks.mode import in_mode
from lightning_warmup.procedures import require
from lightning_warmup.procedures.gradients import set_gradients
from lightning_warmup.procedures.objectives import Objective, make_objective
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.result import Best, WarmupDiverged, WarmupResult, WarmupStep
from lightning_warmup.procedures.schedules import goes_on, least_worthwhile, schedule_of
from lightning_warmup.procedures.sequences import Batch, TooFewBatches, check_device, next_batch, shuffled
from lightning_warmup.procedures.stabilisation import loss_of, measure

Steps = Generator[WarmupStep, None, WarmupResult]
"""The steps of a warmup as they are taken; what it has reached is returned at the end."""


def warmup(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    objective: str | Objective = "published",
    steps: int | None = None,
    lr: float = 1e-2,
    batch_size: int = 32,
    holding_inputs: Tensor | None = None,
    leaky: bool = False,
    seed: int = 0,
) -> WarmupResult:
    """Warm up a recurrent network, in place.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs that matter to it, ``(T, B, I)``, or ``(B, T, I)`` if it has ``batch_first``.
        lengths: Steps of each sequence, ``(B,)``: whole prefixes are used. By default sequences are cut at random.
        objective: What to aim at: ``"published"``, ``"rest"``, or an objective with settings of its own, such as
            ``Published(extension=1)`` or ``Rest(epsilon=1e-3)``.
        steps: Gradient steps; by default those of the objective, 100 or, with ``"rest"``, at most 900.
        lr: Learning rate of the warmup's own Adam.
        batch_size: Sequences of this process in a step, at most as many as there are.
        holding_inputs: Inputs ``(K, I)`` under which the network has to hold what it has read, for ``"rest"``; by
            default any step of the sequences.
        leaky: Whether a partial warmup also moves the frozen parameters of all layers but the last, through the
            gradient of the layers above, as the authors' code does.
        seed: Seed of the order of the sequences, the cuts, the stabilisations and the constant inputs.

    Returns:
        What each step saw, and what the warmup has reached.

    Raises:
        ValueError: If an argument is out of range.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> result = warmup(torch.nn.GRU(1, 16), torch.randn(30, 256, 1), steps=3)
        >>> [step.stabilization for step in result]
        [1, 9, 15]
        >>> result.goal_reached
        False
    """
    plan = WarmupPlan(make_objective(objective, steps), lr, leaky, seed, holding_inputs)
    check_sequences(sequences)
    check_device(rnn, sequences)
    sequences = time_first(rnn, sequences).detach()  # what they were computed by is not warmed up
    number = sequences.shape[1]
    require("batch_size", batch_size, batch_size >= 2, "at least 2")
    if lengths is not None:
        fits = isinstance(lengths, Tensor) and lengths.shape == (number,)
        require("lengths", lengths, fits, f"a tensor ({number},), one for each sequence")
    rows = fewest(min(batch_size, number), sequences.device)
    require("sequences", sequences, rows * world_size() >= 2, "at least 2 sequences, whose states can differ")
    batches = map(gather_batch, shuffled(sequences, lengths, rows, seed))
    with closing(warmup_steps(rnn, batches, plan)) as process:
        while True:
            try:
                next(process)
            except StopIteration as end:
                return end.value


def warmup_steps(rnn: nn.Module | Sequence[nn.Module], batches: Iterable[Batch], plan: WarmupPlan) -> Steps:
    """Warm up a recurrent network step by step, in place; yield each step after it has moved the weights.

    An attempt that is hopeless or misses the goal is followed by another one, if enough steps are left: it goes on
    from the best weights so far, or begins anew. If all miss the goal, the best weights are kept, which may be
    those from before the warmup. They are also kept if anything ends the warmup early.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        batches: The global batches, the same on every process, ``(T, B, I)``.
        plan: How to move the weights.

    Raises:
        ValueError: If there are fewer batches than steps, or no parameter requires a gradient.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.
    """
    process = _Warmup(rnn, batches, plan)
    with ExitStack() as stack:
        stack.enter_context(in_mode(rnn, training=True))
        for parameter in [p for p in process.frozen if p.requires_grad]:
            stack.callback(parameter.requires_grad_, True)
            parameter.requires_grad_(False)
        return (yield from process.run())


class _Warmup:
    """A warmup, its weights and the best of them so far."""

    def __init__(
        self, rnn: nn.Module | Sequence[nn.Module], batches: Iterable[Batch], plan: WarmupPlan
    ) -> None:
        layers = layers_of(rnn)
        self.frozen = [p for layer in layers for p in layer.frozen if not plan.leaky]
        self._warmed = plan.moved(layers)
        movable = any(parameter.requires_grad for parameter in self._warmed)
        wanted = "able to move: unfreeze it, or warm it up before it is frozen"
        require("network", type(rnn).__name__, movable, wanted)
        self._rnn, self._layers, self._plan = rnn, layers, plan
        self._best = Best(self._warmed, plan.objective)
        self._batches = iter(batches)
        self._generator = torch.Generator().manual_seed(plan.seed)
        self._batch: Batch

    def run(self) -> Steps:
        """Make attempts; return what the best weights reach, which are kept however the warmup ends."""
        history = list[WarmupStep]()
        try:
            yield from self._attempts(history)
        finally:
            self._best.restore()
        for parameter in self._warmed:
            take_from_first(parameter.detach())
        found = self._best.found
        assert found is not None
        with in_mode(self._rnn, training=False):
            left = retained(self._layers, *self._batch)
        return WarmupResult(
            history=tuple(history),
            goal_reached=self._best.reaches_goal,
            vaa=found.vaa,
            resting_vaa=found.resting_vaa,
            settle_steps=self._plan.objective.settle_steps,
            retained=left,
            kept=self._best.attempt,
        )

    def _attempts(self, history: list[WarmupStep]) -> Iterator[WarmupStep]:
        """Make attempts until one reaches the goal or too few steps are left."""
        objective, best = self._plan.objective, self._best
        left = objective.steps
        for attempt in count(1):
            if goes_on(objective, attempt):
                best.restore()
            else:
                best.begin()
            try:
                for step in self._attempt(attempt, len(history), left):
                    history.append(step)
                    yield step
            except (WarmupDiverged, TooFewBatches):
                if best.found is None:
                    raise
                break
            if not best.reaches_goal:
                best.offer(attempt, self._measure())
            left = objective.extension * objective.steps - len(history)
            if best.reaches_goal or left < least_worthwhile(objective):
                break
        if not best.reaches_goal:
            best.begin()
            best.offer(0, self._measure())

    def _attempt(self, attempt: int, taken: int, left: int) -> Iterator[WarmupStep]:
        """Take steps until the schedule ends or is hopeless, or a look finds that the goal is reached."""
        plan, lr = self._plan, self._plan.lr
        schedule = schedule_of(plan.objective, left, attempt)
        optimizer = torch.optim.Adam(self._warmed, lr=lr)
        try:
            for index in range(schedule.steps):
                step = taken + index
                self._batch = next_batch(self._batches, "warmup", step, plan.objective.steps)
                longest = int(schedule.longest)
                stabilization = int(torch.randint(1, longest + 1, (), generator=self._generator))
                optimizer.param_groups[0]["lr"] = lr * schedule.lr_factor(index)
                with torch.enable_grad():
                    loss, layers = loss_of(plan, self._layers, self._batch, stabilization, self._generator)
                    set_gradients(self._warmed, loss)
                norm = torch.nn.utils.clip_grad_norm_(self._warmed, schedule.max_norm)
                optimizer.step()
                stars = torch.stack([layer.vaa_star.detach() for layer in layers])
                unrests = torch.stack([layer.unrest.detach() for layer in layers])
                numbers = [loss.detach(), stars.mean(), norm, unrests.mean(), stars.min(), unrests.max()]
                *seen, worst_star, worst_unrest = take_from_first(torch.stack(numbers)).tolist()
                found = WarmupStep(step, attempt, stabilization, *seen)
                self._check_finite(found, last=index == schedule.steps - 1)
                schedule.adapt(index, stabilization, worst_star, worst_unrest)
                yield found
                if schedule.promising:
                    self._best.offer(attempt, self._measure())
                if schedule.hopeless or self._best.reaches_goal:
                    break
        finally:
            optimizer.zero_grad()

    def _check_finite(self, seen: WarmupStep, last: bool) -> None:
        """Refuse a loss or a gradient that is not finite, and after the last step weights that are not."""
        where = f"warmup diverged at step {seen.step} with lr={self._plan.lr}"
        if not (math.isfinite(seen.loss) and math.isfinite(seen.gradient_norm)):
            hint = "a smaller lr may help"
            if seen.step == 0:
                hint = "no step has been taken: the network as it is lets its states or gradients explode"
            what = f"loss {seen.loss:g}, gradient norm {seen.gradient_norm:g}"
            raise WarmupDiverged(f"{where}: {what}; {hint}")
        if last and not all(torch.isfinite(p).all() for p in self._warmed):
            raise WarmupDiverged(f"{where}: a weight is not finite")

    def _measure(self) -> Multistability:
        """Measure the network in eval mode on the last batch."""
        with in_mode(self._rnn, training=False):
            found = measure(self._plan, self._layers, self._batch)
        numbers = torch.tensor([found.vaa, found.resting_vaa], device=self._warmed[0].device)
        vaa, resting_vaa = take_from_first(numbers).tolist()
        return replace(found, vaa=vaa, resting_vaa=resting_vaa)
