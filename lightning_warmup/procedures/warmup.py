"""Warmup: a few gradient steps that spread the states a network settles in (arXiv 2106.01001, section 4).

Each step samples reachable states of a batch, lets them settle under a constant input, and moves the weights so
that VAA* comes to 0.95.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import gather_rows, sum_gradients
from lightning_warmup.dynamics.functional import EPSILON
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.procedures.objectives import WarmupLoss
from lightning_warmup.procedures.schedules import ATTEMPT, Adaptive, Ramp

GOAL = 0.98
"""Resting VAA above which a warmup with the objective ``"rest"`` stops early."""
ENOUGH = 0.9
"""Resting VAA above which such a warmup has ended at rest; below it another attempt is made."""


class WarmupDiverged(RuntimeError):
    """The loss or a gradient of the warmup is no longer finite."""


@dataclass(frozen=True)
class WarmupStep:
    """What one warmup step saw, before it moved the weights.

    Attributes:
        step: Number of the step, from 0.
        attempt: Number of the attempt, from 1; only the objective ``"rest"`` makes several.
        stabilization: Number M of constant steps.
        loss: The loss, see :class:`lightning_warmup.procedures.objectives.WarmupLoss`.
        vaa_star: VAA*, mean over the layers.
        gradient_norm: Euclidean norm of the gradient.
        unrest: What keeps states from rest, mean over the layers; 0 with the objective ``"published"``.
        reached: Resting VAA at 10,000 steps, where it was looked at.
    """

    step: int
    attempt: int
    stabilization: int
    loss: float
    vaa_star: float
    gradient_norm: float
    unrest: float
    reached: float | None = None


def warmup(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
    **settings: Any,
) -> list[WarmupStep]:
    """Warms a recurrent network up, in place.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        sequences: Inputs that matter to it, ``(T, N, I)``, or ``(N, T, I)`` if it has ``batch_first``.
        lengths: Steps of each sequence, ``(N,)``: whole prefixes are used. By default sequences are cut at
            random.
        steps: Number of gradient steps.
        batch_size: Sequences per step.
        seed: Seed of the order of the sequences, the cuts, the stabilisation lengths and constant inputs.
        settings: ``objective``, ``lr`` and the other settings of :func:`warmup_steps`.

    Returns:
        What each step saw.

    Raises:
        ValueError: If an argument is out of range.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> history = warmup(torch.nn.GRU(1, 16), torch.randn(30, 256, 1), steps=3)
        >>> [step.stabilization for step in history]
        [1, 9, 15]
    """
    batch_dim = 0 if getattr(rnn, "batch_first", False) else 1
    count = sequences.shape[batch_dim]
    if not 1 <= batch_size <= count:
        raise ValueError(f"batch_size={batch_size}: must be in 1..{count}, the number of sequences")
    order = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[tuple[Tensor, Tensor | None]]:
        while True:
            for rows in torch.randperm(count, generator=order).split(batch_size)[: count // batch_size]:
                rows = rows.to(sequences.device)
                yield (
                    sequences.index_select(batch_dim, rows),
                    None if lengths is None else lengths[rows.to(lengths.device)],
                )

    return list(warmup_steps(rnn, batches(), steps=steps, seed=seed, **settings))


def warmup_steps(
    rnn: nn.Module | Sequence[nn.Module],
    batches: Iterable[tuple[Tensor, Tensor | None]],
    *,
    objective: str = "published",
    steps: int = 100,
    lr: float = 1e-2,
    epsilon: float = EPSILON,
    target: float = 0.95,
    max_stabilization: int = 200,
    stabilization_ramp: int = 10,
    rest_weight: float = 0.6,
    silent: Sequence[int] = (),
    leaky: bool = False,
    seed: int = 0,
) -> Iterator[WarmupStep]:
    """Warms a recurrent network up step by step, in place, with an Adam optimiser of its own.

    The loss is :class:`lightning_warmup.procedures.objectives.WarmupLoss`. With the objective ``"published"`` the
    stabilisation lengths are those of :class:`lightning_warmup.procedures.schedules.Ramp`. With ``"rest"`` they are those of
    :class:`lightning_warmup.procedures.schedules.Adaptive`, and the resting VAA at 10,000 steps decides: above :data:`GOAL`
    the warmup stops early. An attempt that is hopeless, or ends below :data:`ENOUGH`, is followed by another one
    from the same weights, if the steps that are left are enough for it, from the third on at twice the learning
    rate. That keeps states apart where the smaller one fails, but leaves networks that are harder to train.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`.
        batches: This process's share of each global batch: sequences, and their lengths or None.
        objective: ``"published"`` or ``"rest"``, see :mod:`lightning_warmup.procedures.objectives`.
        steps: Number of gradient steps; with ``"rest"`` the largest one, over all attempts, each of 300 at most.
        lr: Learning rate, of the first two attempts.
        epsilon: Distance below which two states are the same equilibrium.
        target: Value that VAA* is drawn to, from both sides.
        max_stabilization: Longest stabilisation, in steps.
        stabilization_ramp: With ``"published"``, step k, from 0, draws its stabilisation uniformly from
            1..min(1 + stabilization_ramp * k, max_stabilization).
        rest_weight: Weight of what keeps states from rest.
        silent: Input channels that are 0 while states settle, with ``"rest"``: those that tell the network to take
            something new in. The resting VAA that decides is that of inputs to all channels.
        leaky: Whether a partial warmup also moves what it should keep in all layers but the last, through the
            gradient of the layers above, as the authors' code does.
        seed: Seed of the cuts, the stabilisation lengths and the inputs.

    Yields:
        What each step saw, after the weights have moved.

    Raises:
        ValueError: If an argument is out of range, or there are fewer batches than steps.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.
    """
    loss_of = WarmupLoss(objective, epsilon, target, rest_weight, silent)
    _check(steps, lr, max_stabilization, stabilization_ramp)
    layers = layers_of(rnn)
    generator = torch.Generator().manual_seed(seed)
    kept = [] if leaky else [p for layer in layers for p in layer.frozen]
    warmed = [p for layer in layers for p in layer.warmed + layer.frozen if all(p is not k for k in kept)]
    source = _time_first(rnn, batches, steps)
    begun = [parameter.detach().clone() for parameter in warmed]
    taken, attempt, again = 0, 0, True
    with _training(rnn), _no_gradients_for(kept):
        while again:
            with torch.no_grad():
                for parameter, value in zip(warmed, begun, strict=True):
                    parameter.copy_(value)
            schedule: Ramp | Adaptive
            if objective == "published":
                schedule = Ramp(steps, max_stabilization, stabilization_ramp)
            else:
                schedule = Adaptive(steps - taken, max_stabilization)
            attempt += 1
            rate = lr if attempt <= 2 else 2 * lr
            for step in _attempt(layers, warmed, source, loss_of, schedule, rate, generator, taken, attempt):
                yield step
            taken = step.step + 1
            again = objective == "rest" and not _is_above(ENOUGH, step) and steps - taken >= ATTEMPT


def _attempt(
    layers: Sequence[Layer],
    warmed: Sequence[nn.Parameter],
    source: Iterator[tuple[Tensor, Tensor | None]],
    loss_of: WarmupLoss,
    schedule: Ramp | Adaptive,
    lr: float,
    generator: torch.Generator,
    taken: int,
    attempt: int,
) -> Iterator[WarmupStep]:
    """The steps of a schedule after those that are taken, until it ends, reaches the goal or is hopeless."""
    optimizer = torch.optim.Adam(warmed, lr=lr)
    for step in range(schedule.steps):
        sequences, lengths = next(source)
        stabilization = int(torch.randint(1, int(schedule.longest) + 1, (), generator=generator))
        with torch.enable_grad():
            loss, stars, unrests = loss_of(layers, sequences, lengths, stabilization, generator)
            optimizer.zero_grad()
            loss.backward()
        sum_gradients(warmed)
        norm = torch.nn.utils.clip_grad_norm_(warmed, schedule.max_norm)
        optimizer.param_groups[0]["lr"] = lr * schedule.rate(step)
        optimizer.step()
        _check_finite(taken + step, lr, loss, norm, sequences, warmed if step == schedule.steps - 1 else [])
        reached = None
        if schedule.adapt(step, stars, unrests, stabilization):
            reached = _resting_vaa(layers, sequences, lengths, loss_of.epsilon, generator)
        seen = WarmupStep(
            step=taken + step,
            attempt=attempt,
            stabilization=stabilization,
            loss=loss.item(),
            vaa_star=stars.mean().item(),
            gradient_norm=norm.item(),
            unrest=unrests.mean().item(),
            reached=reached,
        )
        yield seen
        if schedule.hopeless or _is_above(GOAL, seen):
            break
    optimizer.zero_grad()


def _is_above(resting_vaa: float, step: WarmupStep) -> bool:
    return step.reached is not None and step.reached > resting_vaa


def _time_first(
    rnn: nn.Module | Sequence[nn.Module], batches: Iterable[tuple[Tensor, Tensor | None]], steps: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """So many batches, with sequences ``(T, N, I)``."""
    batch_first = bool(getattr(rnn, "batch_first", False))
    source = iter(batches)
    for step in range(steps):
        batch = next(source, None)
        if batch is None:
            raise ValueError(f"steps={steps}: there are only {step} batches")
        sequences, lengths = batch
        yield sequences.transpose(0, 1) if batch_first else sequences, lengths


def _check_finite(
    step: int, lr: float, loss: Tensor, norm: Tensor, sequences: Tensor, weights: Sequence[Tensor]
) -> None:
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        if not torch.isfinite(sequences).all():
            raise ValueError(f"data: NaN or infinite values in the sequences of warmup step {step}")
        raise WarmupDiverged(
            f"warmup diverged at step {step} with lr={lr}: loss {loss.item():g}, gradient norm {norm.item():g}; "
            "a smaller lr may help"
        )
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        raise WarmupDiverged(f"warmup diverged at step {step} with lr={lr}: a weight is not finite")


def _resting_vaa(
    layers: Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None,
    epsilon: float,
    generator: torch.Generator,
) -> float:
    """Resting VAA at 10,000 steps on a batch ``(T, N, I)`` of all processes, the same on each of them."""
    sequences = gather_rows(sequences.transpose(0, 1)).transpose(0, 1)
    lengths = None if lengths is None else gather_rows(lengths.to(sequences.device))
    measured = multistability(
        layers, sequences, lengths, steps=10_000, draws=2, epsilon=epsilon, generator=generator
    )
    return measured.resting_vaa


def _check(steps: int, lr: float, max_stabilization: int, stabilization_ramp: int) -> None:
    for name, value, least in (
        ("steps", steps, 1),
        ("max_stabilization", max_stabilization, 1),
        ("stabilization_ramp", stabilization_ramp, 0),
    ):
        if not value >= least:
            raise ValueError(f"{name}={value}: must be at least {least}")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr={lr}: must be a number above 0")


@contextmanager
def _training(rnn: nn.Module | Sequence[nn.Module]) -> Iterator[None]:
    """Puts modules into training mode, which the kernels of some devices need for a gradient, and back."""
    modules = {m: m.training for top in ([rnn] if isinstance(rnn, nn.Module) else rnn) for m in top.modules()}
    try:
        for module in modules:
            module.training = True
        yield
    finally:
        for module, training in modules.items():
            module.training = training


@contextmanager
def _no_gradients_for(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Switches the gradients of ``parameters`` off and back on."""
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
