"""Warmup: a few gradient steps that spread the states a network settles in (arXiv 2106.01001, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import fewest, gather_batch, of_first, sum_gradients, world_size
from lightning_warmup.dynamics.measure import Multistability, retained
from lightning_warmup.dynamics.reachable import check_sequences, in_mode
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.layout import batch_first
from lightning_warmup.procedures import Batch, require, shuffled, time_first
from lightning_warmup.procedures.objectives import Objective
from lightning_warmup.procedures.plan import WarmupPlan, make_plan
from lightning_warmup.procedures.result import Best, TooFewBatches, WarmupDiverged, WarmupResult, WarmupStep

__all__ = ["Warmup", "WarmupDiverged", "WarmupPlan", "warmup"]


def warmup(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    objective: str | Objective = "published",
    steps: int | None = None,
    extension: int | None = None,
    lr: float = 1e-2,
    batch_size: int = 32,
    epsilon: float | None = None,
    target: float | None = None,
    max_stabilization: int | None = None,
    stabilization_ramp: int | None = None,
    rest_weight: float | None = None,
    holding_inputs: Tensor | None = None,
    leaky: bool = False,
    seed: int = 0,
) -> WarmupResult:
    """Warm up a recurrent network, in place. What is None is the objective's own.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs that matter to it, ``(T, B, I)``, or ``(B, T, I)`` if it has ``batch_first``.
        lengths: Steps of each sequence, ``(B,)``: whole prefixes are used. By default sequences are cut at random.
        objective: ``"published"``, ``"rest"`` or another file of :mod:`lightning_warmup.procedures.objectives`; or
            an objective that is made already, with its settings from ``epsilon`` to ``holding_inputs``.
        steps: Number of gradient steps, 100; with ``"rest"`` 900, the most over attempts of 300 at most.
        extension: Steps of all attempts, at most, as a multiple of ``steps``, 7; with ``"rest"`` 1. Attempts of 100
            to 200 steps follow one that misses a VAA of 0.9 at M = 2,000. With 1 there is one, as published.
        lr: Learning rate of the warmup's own Adam; with ``"rest"`` doubled from the third attempt on.
        batch_size: Sequences of this process in a step, at most as many as there are.
        epsilon: Distance below which two states are the same equilibrium, 1e-4; with ``"rest"`` 0.003.
        target: Value that VAA* is drawn to, from both sides, 0.95.
        max_stabilization: Longest stabilisation, in steps, 200; with ``"rest"`` 400.
        stabilization_ramp: Growth of the longest stabilisation with each step, 10; not with ``"rest"``.
        rest_weight: Weight of what keeps states from rest, 0.6; with ``"rest"`` alone.
        holding_inputs: Inputs ``(K, I)`` under which the network has to hold what it has read, by default any step
            of the sequences; with ``"rest"`` alone.
        leaky: Whether a partial warmup also moves the frozen parameters of all layers but the last, through the
            gradient of the layers above, as the authors' code does.
        seed: Seed of the order of the sequences, the cuts, the stabilisations and the constant inputs.

    Returns:
        What each step saw, and what the warmup has reached.

    Raises:
        ValueError: If an argument is out of range, or the objective has no such setting.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> result = warmup(torch.nn.GRU(1, 16), torch.randn(30, 256, 1), steps=3)
        >>> [step.stabilization for step in result]
        [1, 9, 15]
        >>> result.goal_reached
        False
    """
    plan = make_plan(
        objective,
        steps=steps,
        extension=extension,
        lr=lr,
        leaky=leaky,
        seed=seed,
        epsilon=epsilon,
        target=target,
        max_stabilization=max_stabilization,
        stabilization_ramp=stabilization_ramp,
        rest_weight=rest_weight,
        holding_inputs=holding_inputs,
    )
    batch_dim = 0 if batch_first(rnn) else 1
    check_sequences(sequences)
    sequences = sequences.detach()  # what they were computed by is not warmed up
    number = sequences.shape[batch_dim]
    require("batch_size", batch_size, batch_size >= 2, "at least 2")
    if lengths is not None:
        fits = isinstance(lengths, Tensor) and lengths.shape == (number,)
        require("lengths", lengths, fits, f"a tensor ({number},), one for each sequence")
    rows = fewest(min(batch_size, number), sequences.device)  # as many on every process
    require("sequences", sequences, rows * world_size() >= 2, "at least 2 sequences, whose states can differ")
    process = Warmup(rnn, shuffled(sequences, lengths, batch_dim, rows, seed), plan)
    for _ in process:
        pass
    assert process.result is not None
    return process.result


class Warmup:
    """A warmup step by step, in place: iterate over it, then read its result.

    The objective decides how often weights are moved. An attempt that is hopeless or misses the goal is followed by
    another one, if enough steps are left: it goes on from the best weights so far, or begins anew. If all miss the
    goal, the best weights are kept, which may be those from before the warmup.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        batches: This process's share of each global batch, laid out as the network takes them.
        plan: How to move the weights.

    Attributes:
        result: What each step saw and what the warmup has reached; None before its end.

    Raises:
        ValueError: If there are fewer batches than steps, or no parameter requires a gradient.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.
    """

    def __init__(
        self, rnn: nn.Module | Sequence[nn.Module], batches: Iterable[Batch], plan: WarmupPlan
    ) -> None:
        self.plan = plan
        self.result: WarmupResult | None = None
        self._rnn = rnn
        self._layers = layers_of(rnn)
        self._frozen = [p for layer in self._layers for p in layer.frozen if not plan.leaky]
        self._warmed = [
            p for layer in self._layers for p in layer.warmed + (layer.frozen if plan.leaky else [])
        ]
        movable = any(parameter.requires_grad for parameter in self._warmed)
        require("network", type(rnn).__name__, movable, "a network with parameters that require a gradient")
        self._batches = iter(batches)
        self._generator = torch.Generator().manual_seed(plan.seed)
        self._batch: Batch
        self._measured: Multistability | None = None  # after the last step that was taken

    def __iter__(self) -> Iterator[WarmupStep]:
        """Take the steps; yield what each saw after it has moved the weights."""
        objective, history = self.plan.objective, list[WarmupStep]()
        best, left = Best(self._warmed, objective.figure), self.plan.steps
        with ExitStack() as stack:
            stack.enter_context(in_mode(self._rnn, training=True))
            for parameter in [p for p in self._frozen if p.requires_grad]:
                stack.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
            for attempt in count(1):
                if 1 < attempt <= 1 + objective.going_on:
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
                assert self._measured is not None
                best.offer(attempt, self._measured)
                left = self.plan.extension * self.plan.steps - len(history)
                if self._exceeds(objective.goal) or left < objective.further_attempt:
                    break
            self._measured = best.restore()
            if not self._exceeds(objective.goal):
                best.begin()
                best.offer(0, self._measure())
                self._measured = best.restore()
        with in_mode(self._rnn, training=False):
            last = retained(self._layers, *gather_batch(self._batch))
        self.result = WarmupResult(
            history=tuple(history),
            goal_reached=self._exceeds(objective.goal),
            vaa=self._measured.vaa,
            resting_vaa=self._measured.resting_vaa,
            settle_steps=objective.settle_steps,
            retained=last,
            kept=best.attempt,
        )

    def _attempt(self, attempt: int, taken: int, left: int) -> Iterator[WarmupStep]:
        """Take steps until the schedule ends or is hopeless; then measure."""
        objective, lr = self.plan.objective, self.plan.lr
        schedule = objective.schedule(left, attempt)
        optimizer = torch.optim.Adam(self._warmed, lr=lr)
        try:
            for index in range(schedule.steps):
                step = taken + index
                self._batch = self._next_batch(step)
                stabilization = int(
                    torch.randint(1, int(schedule.longest) + 1, (), generator=self._generator)
                )
                optimizer.param_groups[0]["lr"] = lr * schedule.lr_factor(index)
                optimizer.zero_grad()
                with torch.enable_grad():
                    loss, layers = objective(self._layers, self._batch, stabilization, self._generator)
                    loss.backward()
                sum_gradients(self._warmed)
                norm = torch.nn.utils.clip_grad_norm_(self._warmed, schedule.max_norm)
                optimizer.step()
                self._check_finite(f"step {step}", lr, loss, norm, last=index == schedule.steps - 1)
                stars = torch.stack([layer.vaa_star.detach() for layer in layers])
                unrests = torch.stack([layer.unrest.detach() for layer in layers])
                worst = of_first(stars.min().item(), norm.device), of_first(unrests.max().item(), norm.device)
                schedule.adapt(index, stabilization, *worst)
                yield WarmupStep(
                    step=step,
                    attempt=attempt,
                    stabilization=stabilization,
                    loss=loss.item(),
                    vaa_star=stars.mean().item(),
                    gradient_norm=norm.item(),
                    unrest=unrests.mean().item(),
                )
                if schedule.hopeless:
                    break
        finally:
            optimizer.zero_grad()
        self._measured = self._measure()

    def _next_batch(self, step: int) -> Batch:
        batch = next(self._batches, None)
        if batch is None:
            raise TooFewBatches(f"steps={self.plan.steps}: there are only {step} batches")
        return time_first(self._rnn, batch[0]), batch[1]

    def _check_finite(self, step: str, lr: float, loss: Tensor, norm: Tensor, last: bool) -> None:
        """Refuse figures that are not finite, and after the last step weights that are not."""
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            if not torch.isfinite(self._batch[0]).all():
                raise ValueError(f"data: NaN or infinite values in the sequences of warmup {step}")
            figures = f"loss {loss.item():g}, gradient norm {norm.item():g}; a smaller lr may help"
            raise WarmupDiverged(f"warmup diverged at {step} with lr={lr}: {figures}")
        if last and not all(torch.isfinite(p).all() for p in self._warmed):
            raise WarmupDiverged(f"warmup diverged at {step} with lr={lr}: a weight is not finite")

    def _measure(self) -> Multistability:
        """Measure the network in eval mode on the last batch, with draws that do not depend on the steps before."""
        generator = torch.Generator().manual_seed(self.plan.seed)
        with in_mode(self._rnn, training=False):
            found = self.plan.objective.measure(self._layers, self._batch, generator)
        # What is decided by it is decided alike everywhere, however differently processes round.
        device = self._warmed[0].device
        return replace(
            found, vaa=of_first(found.vaa, device), resting_vaa=of_first(found.resting_vaa, device)
        )

    def _exceeds(self, goal: float) -> bool:
        """Return whether what was measured last exceeds a goal."""
        return self._measured is not None and getattr(self._measured, self.plan.objective.figure) > goal
