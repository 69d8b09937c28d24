"""Warmup: a few gradient steps that spread the states a network settles in (arXiv 2106.01001, section 4).

Each step samples reachable states of a batch, lets every layer settle under a constant input of its own, and
moves the weights so that VAA* comes to 0.95. The stabilisation grows from one step on: a monostable network
must be caught before its states have collapsed, since VAA* has no gradient there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import gather_rows, rank, sum_gradients, world_size
from lightning_warmup.reach import cut_lengths, reachable_states
from lightning_warmup.stability import EPSILON, vaa_star
from lightning_warmup.stack import Layer, layers_of
from lightning_warmup.state import flatten_state


class WarmupDiverged(RuntimeError):
    """The loss or a gradient of the warmup is no longer finite."""


@dataclass(frozen=True)
class WarmupStep:
    """What one warmup step saw, before it moved the weights.

    Attributes:
        step: Number of the step, from 0.
        loss: Mean over the layers of ``(VAA* - target)^2``.
        vaa_star: VAA*, mean over the layers.
        stabilization: Number M of constant steps.
        gradient_norm: Euclidean norm of the gradient.
    """

    step: int
    loss: float
    vaa_star: float
    stabilization: int
    gradient_norm: float


def warmup(
    rnn: nn.Module | Sequence[nn.Module],
    sequences: Tensor,
    lengths: Tensor | None = None,
    *,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
    **settings: float,
) -> list[WarmupStep]:
    """Warms a recurrent network up, in place.

    Args:
        rnn: The network; see :func:`lightning_warmup.stack.layers_of`.
        sequences: Inputs that matter to it, ``(T, N, I)``, or ``(N, T, I)`` if it has ``batch_first``.
        lengths: Steps of each sequence, ``(N,)``: whole prefixes are used. By default sequences are cut at
            random.
        steps: Number of gradient steps.
        batch_size: Sequences per step.
        seed: Seed of the order of the sequences, the cuts, the stabilisation lengths and constant inputs.
        settings: ``lr``, ``epsilon``, ``target``, ``max_stabilization``, ``stabilization_ramp`` and ``leaky`` of
            :func:`warmup_steps`.

    Returns:
        What each step saw.

    Raises:
        ValueError: If an argument is out of range.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> history = warmup(torch.nn.GRU(1, 16), torch.randn(30, 256, 1), steps=3)
        >>> [step.stabilization for step in history]
        [1, 1, 20]
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

    return list(warmup_steps(rnn, batches(), steps=steps, seed=seed, **settings))  # type: ignore[arg-type]


def warmup_steps(
    rnn: nn.Module | Sequence[nn.Module],
    batches: Iterable[tuple[Tensor, Tensor | None]],
    *,
    steps: int = 100,
    lr: float = 1e-2,
    epsilon: float = EPSILON,
    target: float = 0.95,
    max_stabilization: int = 200,
    stabilization_ramp: int = 10,
    leaky: bool = False,
    seed: int = 0,
) -> Iterator[WarmupStep]:
    """Warms a recurrent network up step by step, in place, with an Adam optimiser of its own.

    Args:
        rnn: The network; see :func:`lightning_warmup.stack.layers_of`.
        batches: This process's share of each global batch: sequences, and their lengths or None.
        steps: Number of gradient steps.
        lr: Learning rate.
        epsilon: Distance below which two states are the same equilibrium.
        target: Value that VAA* is drawn to, from both sides.
        max_stabilization: Longest stabilisation, in steps.
        stabilization_ramp: Step k, from 0, draws its stabilisation uniformly from
            1..min(1 + stabilization_ramp * k, max_stabilization).
        leaky: Whether a partial warmup also moves what it should keep in all layers but the last, through the
            gradient of the layers above, as the authors' code does.
        seed: Seed of the cuts, the stabilisation lengths and the constant inputs.

    Yields:
        What each step saw, after the weights have moved.

    Raises:
        ValueError: If an argument is out of range, or there are fewer batches than steps.
        WarmupDiverged: If the loss, a gradient or a weight is not finite.
    """
    for name, value, least in (
        ("steps", steps, 1),
        ("max_stabilization", max_stabilization, 1),
        ("stabilization_ramp", stabilization_ramp, 0),
    ):
        if value < least:
            raise ValueError(f"{name}={value}: must be at least {least}")
    for name, number, most in (("lr", lr, math.inf), ("epsilon", epsilon, math.inf), ("target", target, 1)):
        if not (math.isfinite(number) and 0 < number <= most):
            raise ValueError(
                f"{name}={number}: must be a number above 0" + ("" if most > 1 else ", at most 1")
            )
    layers = layers_of(rnn)
    batch_first = bool(getattr(rnn, "batch_first", False))
    generator = torch.Generator().manual_seed(seed)
    kept = [] if leaky else [p for layer in layers for p in layer.kept]
    warmed = [p for layer in layers for p in layer.warmed + layer.kept if all(p is not k for k in kept)]
    optimizer = torch.optim.Adam(warmed, lr=lr)
    source = iter(batches)
    with _training(rnn), _no_gradients_for(kept):
        for step in range(steps):
            sequences, lengths = next(source, (None, None))
            if sequences is None:
                raise ValueError(f"steps={steps}: there are only {step} batches")
            sequences = sequences.transpose(0, 1) if batch_first else sequences
            longest = min(1 + stabilization_ramp * step, max_stabilization)
            stabilization = int(torch.randint(1, longest + 1, (), generator=generator))
            with torch.enable_grad():
                stars = _vaa_stars(layers, sequences, lengths, stabilization, epsilon, generator)
                loss = ((stars - target) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
            sum_gradients(warmed)
            norm = torch.nn.utils.get_total_norm([p.grad for p in warmed if p.grad is not None])
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                raise WarmupDiverged(
                    f"warmup diverged at step {step} with lr={lr}: loss {loss.item():g}, gradient norm "
                    f"{norm.item():g}; a smaller lr may help"
                )
            optimizer.step()
            if step == steps - 1 and not all(bool(torch.isfinite(p).all()) for p in warmed):
                raise WarmupDiverged(f"warmup diverged at step {step} with lr={lr}: a weight is not finite")
            yield WarmupStep(step, loss.item(), stars.mean().item(), stabilization, norm.item())
        optimizer.zero_grad()


def _vaa_stars(
    layers: Sequence[Layer],
    sequences: Tensor,
    lengths: Tensor | None,
    stabilization: int,
    epsilon: float,
    generator: torch.Generator,
) -> Tensor:
    """VAA* of every layer, ``(L,)``, each settled alone under a constant input of its own.

    The states of all processes are compared, and every process draws alike for all of them.
    """
    length, count, _ = sequences.shape
    if lengths is None:
        lengths = cut_lengths(count * world_size(), length, generator).split(count)[rank()]
    stars = []
    for layer, state in zip(layers, reachable_states(layers, sequences, lengths), strict=True):
        input = torch.randn(layer.input_size or sequences.shape[2], generator=generator).to(sequences)
        _, settled = layer.run(input.expand(stabilization, count, -1), state)
        stars.append(vaa_star(gather_rows(flatten_state(layer.part(settled))), epsilon))
    return torch.stack(stars)


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
