"""Pretrainings that other work starts recurrent networks from, to compare with the warmup.

*Sequence autoencoding* (Dai and Le 2015, arXiv 1511.01432): the network reads a sequence, and a decoder that starts
from its final state reproduces it. *Next-step prediction*: the network predicts each step of a sequence from those
before. Neither uses the targets of the task.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import take_from_first
from lightning_warmup.dynamics.reachable import reachable_states, run_layers
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.networks.mode import in_mode
from lightning_warmup.procedures import require
from lightning_warmup.procedures.gradients import set_gradients
from lightning_warmup.procedures.sequences import Batch, next_batch

TASKS = ("autoencode", "next_step")


@dataclass(frozen=True)
class PretrainStep:
    """Number of a step, from 0, and the mean squared error of a predicted value before it moved the weights."""

    step: int
    loss: float


@dataclass(frozen=True)
class PretrainPlan:
    """How a pretraining moves the weights; see :class:`lightning_warmup.callbacks.pretrain.PretrainStage`."""

    task: str = "autoencode"
    steps: int = 300
    lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        require("task", repr(self.task), self.task in TASKS, f"one of {', '.join(TASKS)}")
        require("steps", self.steps, self.steps >= 1, "at least 1")
        require("lr", self.lr, 0 < self.lr < math.inf, "a number above 0")


def pretrain_steps(rnn: nn.Module, batches: Iterable[Batch], plan: PretrainPlan) -> Generator[PretrainStep]:
    """Pretrain a recurrent network step by step, in place; the weights from before come back if it ends early.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`. Its own read-out stays as it is.
        batches: The global batches, the same on every process, ``(T, B, I)``.
        plan: How to move the weights.

    Yields:
        What each step saw, after the weights have moved.

    Raises:
        ValueError: If there are fewer batches than steps, a number of a sequence is not finite, or no sequence of a
            batch has a next step to predict.
        RuntimeError: If the loss is not finite.
    """
    encoder = layers_of(rnn)
    decoder = layers_of(copy.deepcopy(rnn)) if plan.task == "autoencode" else []
    parameters = [p for layer in encoder + decoder for p in layer.warmed + layer.frozen]
    before = [parameter.detach().clone() for parameter in rnn.parameters()]
    batches = iter(batches)
    try:
        with in_mode(rnn, training=True):
            for step in range(plan.steps):
                sequences, lengths = next_batch(batches, "pretraining", step, plan.steps)
                with torch.enable_grad():
                    outputs, targets, active = _task(encoder, decoder, sequences, lengths)
                    if step == 0:
                        with torch.random.fork_rng(devices=[]):
                            torch.manual_seed(plan.seed)
                            head = nn.Linear(outputs.shape[2], targets.shape[2]).to(targets)
                        parameters += head.parameters()
                        optimizer = torch.optim.Adam(parameters, lr=plan.lr)
                    errors = (head(outputs) - targets).square().mean(2)[active]
                    loss = errors.mean()
                    set_gradients(parameters, loss)
                if not torch.isfinite(loss):
                    hint = f"with lr={plan.lr}; a smaller lr may help"
                    raise RuntimeError(f"pretraining diverged at step {step} {hint}")
                optimizer.step()
                yield PretrainStep(step, loss.item())
    except BaseException:
        with torch.no_grad():
            for parameter, value in zip(rnn.parameters(), before, strict=True):
                parameter.copy_(value)
        raise
    finally:
        rnn.zero_grad()
    for parameter in rnn.parameters():
        take_from_first(parameter.detach())


def _task(
    encoder: list[Layer], decoder: list[Layer], sequences: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs ``(T', B, H)``, the values ``(T', B, I)`` they should predict, and which count, ``(T', B)``.

    With a decoder, sequences are reproduced from the encoder's final states, each value after those before it.
    Without one, the encoder itself predicts each next value.
    """
    steps = torch.arange(len(sequences), device=sequences.device).unsqueeze(1)
    if lengths is None:
        lengths = torch.full((sequences.shape[1],), len(sequences), device=sequences.device)
    if decoder:
        states = reachable_states(encoder, sequences, lengths)
        before = torch.cat([torch.zeros_like(sequences[:1]), sequences[:-1]])
        return run_layers(decoder, before, states)[0], sequences, steps < lengths
    require("sequences", sequences, int(lengths.max()) > 1, "longer than one step, to predict the next one")
    zero = [None] * len(encoder)
    outputs, _ = run_layers(encoder, sequences[:-1], zero)  # type: ignore[arg-type]
    return outputs, sequences[1:], steps[1:] < lengths
