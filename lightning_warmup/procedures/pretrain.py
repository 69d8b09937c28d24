"""Pretrainings that other work starts recurrent networks from, to compare with the warmup.

*Sequence autoencoding* (Dai and Le 2015, arXiv 1511.01432): the network reads a sequence, and a decoder that starts
from its final state reproduces it. *Next-step prediction*: the network predicts each step of a sequence from those
before. Neither uses the targets of the task.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import gather_rows, sum_gradients
from lightning_warmup.dynamics.reachable import in_mode, reachable_states
from lightning_warmup.engine.state import State
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.procedures.training import check_steps_and_lr

TASKS = ("autoencode", "next_step")


@dataclass(frozen=True)
class PretrainStep:
    """What one step of a pretraining saw, before it moved the weights.

    Attributes:
        step: Number of the step, from 0.
        loss: Mean squared error of a predicted value.
    """

    step: int
    loss: float


@dataclass(frozen=True)
class PretrainPlan:
    """How a pretraining moves the weights.

    Attributes:
        task: ``"autoencode"`` or ``"next_step"``.
        steps: Number of gradient steps.
        lr: Learning rate of its own Adam.
        seed: Seed of its read-out.

    Raises:
        ValueError: If an attribute is out of range.
    """

    task: str = "autoencode"
    steps: int = 300
    lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.task not in TASKS:
            raise ValueError(f"task={self.task!r}: choose one of {', '.join(TASKS)}")
        check_steps_and_lr(self.steps, self.lr)


def pretrain_steps(
    rnn: nn.Module, batches: Iterable[tuple[Tensor, Tensor | None]], plan: PretrainPlan
) -> Iterator[PretrainStep]:
    """Pretrain a recurrent network step by step, in place.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`. Its own read-out stays as it is.
        batches: This process's share of each global batch: sequences, and their lengths or None.
        plan: How to move the weights.

    Yields:
        What each step saw, after the weights have moved.

    Raises:
        RuntimeError: If the loss is not finite.
    """
    batch_first = bool(getattr(rnn, "batch_first", False))
    encoder = layers_of(rnn)
    decoder = layers_of(copy.deepcopy(rnn)) if plan.task == "autoencode" else []
    with in_mode(rnn, training=True):
        source = _time_first(batches, batch_first)
        first = next(source, None)
        if first is None:
            return
        head = _read_out(encoder, first[0], plan.seed)
        parameters = [p for layer in encoder + decoder for p in layer.warmed + layer.frozen]
        parameters += head.parameters()
        optimizer = torch.optim.Adam(parameters, lr=plan.lr)
        for step, batch in enumerate(islice(chain([first], source), plan.steps)):
            with torch.enable_grad():
                outputs, targets, active = _task(encoder, decoder, *batch)
                errors = (head(outputs) - targets).square().mean(2)[active]
                loss = errors.sum() / gather_rows(active.sum(0)).sum()
                optimizer.zero_grad()
                loss.backward()
            sum_gradients(parameters)
            mean = float(gather_rows(loss.detach().reshape(1)).sum())
            if not math.isfinite(mean):
                raise RuntimeError(
                    f"pretraining diverged at step {step} with lr={plan.lr}; a smaller lr may help"
                )
            optimizer.step()
            yield PretrainStep(step, mean)
    rnn.zero_grad()


def _time_first(
    batches: Iterable[tuple[Tensor, Tensor | None]], batch_first: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches with sequences ``(T, B, I)`` and a length for each."""
    for sequences, lengths in batches:
        sequences = sequences.transpose(0, 1) if batch_first else sequences
        if lengths is None:
            lengths = torch.full((sequences.shape[1],), len(sequences), device=sequences.device)
        yield sequences, lengths


def _task(
    encoder: Sequence[Layer], decoder: Sequence[Layer], sequences: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs ``(T', B, H)``, the values ``(T', B, I)`` they should predict, and which count, ``(T', B)``.

    With a decoder, sequences are reproduced from the encoder's final states, each value after those before it.
    Without one, the encoder itself predicts each next value.
    """
    steps = torch.arange(len(sequences), device=sequences.device).unsqueeze(1)
    if decoder:
        states = reachable_states(encoder, sequences, lengths)
        before = torch.cat([torch.zeros_like(sequences[:1]), sequences[:-1]])
        return _outputs(decoder, before, states), sequences, steps < lengths
    return _outputs(encoder, sequences[:-1]), sequences[1:], steps[1:] < lengths


def _outputs(layers: Sequence[Layer], input: Tensor, states: Sequence[State] | None = None) -> Tensor:
    """Return the last layer's outputs, ``(T, B, H)``, from given states or from zero."""
    for index, layer in enumerate(layers):
        input, _ = layer.run(input, None if states is None else states[index])
    return input


def _read_out(layers: Sequence[Layer], sequences: Tensor, seed: int) -> nn.Linear:
    """Return a new linear layer from a network's outputs back to its inputs."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        head = nn.Linear(_outputs(layers, sequences[:1]).shape[2], sequences.shape[2])
    return head.to(sequences)
