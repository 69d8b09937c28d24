"""Warmup: a few gradient steps that spread the states a network settles in (arXiv 2106.01001, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import sum_gradients
from lightning_warmup.dynamics.functional import EPSILON
from lightning_warmup.dynamics.measure import Multistability
from lightning_warmup.dynamics.reachable import in_mode
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.procedures.objectives import Objective, make_objective
from lightning_warmup.procedures.objectives.published import Published
from lightning_warmup.procedures.result import WarmupResult, WarmupStep
from lightning_warmup.procedures.schedules import Schedule
from lightning_warmup.procedures.training import check_steps_and_lr, no_gradients_for

Batch = tuple[Tensor, Tensor | None]
"""Sequences, and the steps of each or None."""


class WarmupDiverged(RuntimeError):
    """The loss, a gradient or a weight of the warmup is no longer finite."""


def warmup(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    objective: str | Objective = "published",
    steps: int = 100,
    lr: float = 1e-2,
    batch_size: int = 32,
    epsilon: float = EPSILON,
    target: float = 0.95,
    max_stabilization: int = 200,
    stabilization_ramp: int = 10,
    rest_weight: float = 0.6,
    silent: Sequence[int] = (),
    leaky: bool = False,
    seed: int = 0,
) -> WarmupResult:
    """Warm up a recurrent network, in place.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs that matter to it, ``(T, B, I)``, or ``(B, T, I)`` if it has ``batch_first``.
        lengths: Steps of each sequence, ``(B,)``: whole prefixes are used. By default sequences are cut at random.
        objective: ``"published"``, ``"rest"`` or another file of :mod:`lightning_warmup.procedures.objectives`; or
            an objective that is made already: then its own settings hold, not those from ``epsilon`` to ``silent``.
        steps: Number of gradient steps; with ``"rest"`` the most over all attempts, each of 300 at most.
        lr: Learning rate of the warmup's own Adam, doubled from the third attempt on.
        batch_size: Sequences per step.
        epsilon: Distance below which two states are the same equilibrium.
        target: Value that VAA* is drawn to, from both sides.
        max_stabilization: Longest stabilisation, in steps.
        stabilization_ramp: Growth of the longest stabilisation with each step, with ``"published"``.
        rest_weight: Weight of what keeps states from rest, with ``"rest"``.
        silent: Numbers of the input channels that are 0 while states settle, with ``"rest"``.
        leaky: Whether a partial warmup also moves the frozen parameters of all layers but the last, through the
            gradient of the layers above, as the authors' code does.
        seed: Seed of the order of the sequences, the cuts, the stabilisations and the constant inputs.

    Returns:
        What each step saw, and what the warmup has reached.

    Raises:
        ValueError: If an argument is out of range.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> result = warmup(torch.nn.GRU(1, 16), torch.randn(30, 256, 1), steps=3)
        >>> [step.stabilization for step in result]
        [1, 9, 15]
        >>> result.goal_reached
        False
    """
    aim = make_objective(
        objective,
        epsilon=epsilon,
        target=target,
        max_stabilization=max_stabilization,
        stabilization_ramp=stabilization_ramp,
        rest_weight=rest_weight,
        silent=silent,
    )
    plan = WarmupPlan(aim, steps, lr, leaky, seed)
    batch_dim = 0 if getattr(rnn, "batch_first", False) else 1
    number = sequences.shape[batch_dim]
    if not 1 <= batch_size <= number:
        raise ValueError(f"batch_size={batch_size}: must be in 1..{number}, the number of sequences")
    process = Warmup(rnn, _shuffled(sequences, lengths, batch_dim, batch_size, seed), plan)
    for _ in process:
        pass
    assert process.result is not None
    return process.result


@dataclass(frozen=True)
class WarmupPlan:
    """How a warmup moves the weights, and what it aims at; attributes are arguments of :func:`warmup`.

    Raises:
        ValueError: If ``steps`` or ``lr`` is out of range.
    """

    objective: Objective = field(default_factory=Published)
    steps: int = 100
    lr: float = 1e-2
    leaky: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_steps_and_lr(self.steps, self.lr)


class Warmup:
    """A warmup step by step, in place: iterate over it, then read its result.

    The objective decides how often weights are moved. An attempt that is hopeless or misses the goal is followed by
    another one from the same weights, if enough steps are left; from the third on at twice the learning rate. That
    holds states apart where the smaller one fails, but leaves networks that are harder to train.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        batches: This process's share of each global batch: sequences, and their lengths or None.
        plan: How to move the weights.

    Attributes:
        result: What each step saw and what the warmup has reached; None before its end.

    Raises:
        ValueError: If there are fewer batches than steps.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.
    """

    def __init__(
        self, rnn: nn.Module | Sequence[nn.Module], batches: Iterable[Batch], plan: WarmupPlan
    ) -> None:
        self.plan = plan
        self.result: WarmupResult | None = None
        self._rnn = rnn
        self._layers = layers_of(rnn)
        self._frozen = [] if plan.leaky else [p for layer in self._layers for p in layer.frozen]
        every = [p for layer in self._layers for p in layer.warmed + layer.frozen]
        self._warmed = [p for p in every if all(p is not frozen for frozen in self._frozen)]
        self._batches = _time_first(rnn, batches, plan.steps)
        self._generator = torch.Generator().manual_seed(plan.seed)
        self._batch: Batch
        self._measured: Multistability | None = None  # after the last step that was taken

    def __iter__(self) -> Iterator[WarmupStep]:
        """Take the steps; yield what each saw after it has moved the weights."""
        plan, history = self.plan, list[WarmupStep]()
        initial = [parameter.detach().clone() for parameter in self._warmed]
        with in_mode(self._rnn, training=True), no_gradients_for(self._frozen):
            for attempt in count(1):
                with torch.no_grad():
                    for parameter, value in zip(self._warmed, initial, strict=True):
                        parameter.copy_(value)
                for step in self._attempt(attempt, len(history)):
                    history.append(step)
                    yield step
                left = plan.steps - len(history)
                if self._exceeds(plan.objective.goal) or left < plan.objective.further_attempt:
                    break
        if self._measured is None:
            generator = torch.Generator().manual_seed(plan.seed)
            self._measured = self._measure(generator)
        self.result = WarmupResult(
            tuple(history),
            self._exceeds(plan.objective.goal),
            self._measured.vaa,
            self._measured.resting_vaa,
            plan.objective.settle_steps,
        )

    def _attempt(self, attempt: int, taken: int) -> Iterator[WarmupStep]:
        """Take steps until the schedule ends, is hopeless or the goal is reached early."""
        objective = self.plan.objective
        schedule = objective.schedule(self.plan.steps - taken)
        optimizer = torch.optim.Adam(self._warmed, lr=self.plan.lr if attempt <= 2 else 2 * self.plan.lr)
        for index in range(schedule.steps):
            self._batch = next(self._batches)
            stabilization = int(torch.randint(1, int(schedule.longest) + 1, (), generator=self._generator))
            loss, norm, (stars, unrests) = self._move(
                optimizer, schedule, index, stabilization, taken + index
            )
            look = schedule.adapt(index, stabilization, stars.min().item(), unrests.max().item())
            self._measured = self._measure(self._generator) if look else None
            yield WarmupStep(
                step=taken + index,
                attempt=attempt,
                stabilization=stabilization,
                loss=loss,
                vaa_star=stars.mean().item(),
                gradient_norm=norm,
                unrest=unrests.mean().item(),
                reached=None if self._measured is None else getattr(self._measured, objective.figure),
            )
            if schedule.hopeless or self._exceeds(objective.early_goal):
                break
        optimizer.zero_grad()

    def _move(
        self, optimizer: torch.optim.Adam, schedule: Schedule, index: int, stabilization: int, step: int
    ) -> tuple[float, float, Tensor]:
        """Move the weights once; return the loss, the norm of its gradient, and each layer's VAA* and unrest."""
        (group,) = optimizer.param_groups
        lr = optimizer.defaults["lr"]
        with torch.enable_grad():
            loss, layers = self.plan.objective(self._layers, *self._batch, stabilization, self._generator)
            optimizer.zero_grad()
            loss.backward()
        sum_gradients(self._warmed)
        norm = torch.nn.utils.clip_grad_norm_(self._warmed, schedule.max_norm)
        group["lr"] = lr * schedule.lr_factor(index)
        optimizer.step()
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            if not torch.isfinite(self._batch[0]).all():
                raise ValueError(f"data: NaN or infinite values in the sequences of warmup step {step}")
            raise WarmupDiverged(
                f"warmup diverged at step {step} with lr={lr}: loss {loss.item():g}, "
                f"gradient norm {norm.item():g}; a smaller lr may help"
            )
        if index == schedule.steps - 1 and not all(bool(torch.isfinite(p).all()) for p in self._warmed):
            raise WarmupDiverged(f"warmup diverged at step {step} with lr={lr}: a weight is not finite")
        seen = [torch.stack([getattr(layer, name) for layer in layers]) for name in ("vaa_star", "unrest")]
        return loss.item(), norm.item(), torch.stack(seen).detach()

    def _measure(self, generator: torch.Generator) -> Multistability:
        """Measure the network in eval mode on the last batch."""
        with in_mode(self._rnn, training=False):
            return self.plan.objective.measure(self._layers, *self._batch, generator)

    def _exceeds(self, goal: float) -> bool:
        """Return whether the network was measured at the last step and exceeds a goal."""
        return self._measured is not None and getattr(self._measured, self.plan.objective.figure) > goal


def _shuffled(
    sequences: Tensor, lengths: Tensor | None, batch_dim: int, batch_size: int, seed: int
) -> Iterator[Batch]:
    """Yield batches of whole size in random order, without end."""
    order = torch.Generator().manual_seed(seed)
    number = sequences.shape[batch_dim]
    while True:
        for rows in torch.randperm(number, generator=order).split(batch_size)[: number // batch_size]:
            rows = rows.to(sequences.device)
            selected = None if lengths is None else lengths[rows.to(lengths.device)]
            yield sequences.index_select(batch_dim, rows), selected


def _time_first(
    rnn: nn.Module | Sequence[nn.Module], batches: Iterable[Batch], steps: int
) -> Iterator[Batch]:
    """Yield so many batches, with sequences ``(T, B, I)``."""
    batch_first = bool(getattr(rnn, "batch_first", False))
    source = iter(batches)
    for step in range(steps):
        batch = next(source, None)
        if batch is None:
            raise ValueError(f"steps={steps}: there are only {step} batches")
        sequences, lengths = batch
        yield sequences.transpose(0, 1) if batch_first else sequences, lengths
