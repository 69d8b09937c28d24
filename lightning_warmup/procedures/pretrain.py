"""Pretrainings that other work starts recurrent networks from, to compare with the warmup.

*Sequence autoencoding* (Dai and Le 2015, arXiv 1511.01432): the network reads a sequence, and a decoder that starts
from its final state gives the sequence back. *Next-step prediction*: the network tells each next step of a sequence
from those before. Neither uses the targets of the task.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from lightning_warmup.distributed import gather_rows, sum_gradients
from lightning_warmup.dynamics.reachable import reachable_states
from lightning_warmup.engine.state import State
from lightning_warmup.networks.layers import Layer, layers_of

TASKS = ("autoencode", "next_step")


@dataclass(frozen=True)
class PretrainStep:
    """What one step of a pretraining saw, before it moved the weights.

    Attributes:
        step: Number of the step, from 0.
        loss: Mean squared error of a value that is given back.
    """

    step: int
    loss: float


def pretrain_steps(
    rnn: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    *,
    task: str = "autoencode",
    steps: int = 300,
    lr: float = 1e-3,
    seed: int = 0,
) -> Iterator[PretrainStep]:
    """Pretrains a recurrent network step by step, in place, with an Adam optimiser of its own.

    Args:
        rnn: The network; see :func:`lightning_warmup.networks.layers.layers_of`. Its own read-out is left alone.
        batches: This process's share of each global batch: sequences, and their lengths or None.
        task: ``"autoencode"`` or ``"next_step"``.
        steps: Number of gradient steps.
        lr: Learning rate.
        seed: Seed of the read-out of the pretraining.

    Yields:
        What each step saw, after the weights have moved.

    Raises:
        RuntimeError: If the loss is not finite.
    """
    batch_first = bool(getattr(rnn, "batch_first", False))
    encoder = layers_of(rnn)
    decoder = layers_of(copy.deepcopy(rnn)) if task == "autoencode" else []
    parameters = [p for layer in encoder + decoder for p in layer.warmed + layer.frozen]
    head: nn.Linear | None = None
    training = rnn.training
    rnn.train()
    for step, (sequences, lengths) in enumerate(islice(batches, steps)):
        sequences = sequences.transpose(0, 1) if batch_first else sequences
        if lengths is None:
            lengths = torch.full((sequences.shape[1],), len(sequences), device=sequences.device)
        with torch.enable_grad():
            if head is None:
                head = _read_out(encoder, sequences, seed)
                parameters += head.parameters()
                optimizer = torch.optim.Adam(parameters, lr=lr)
            outputs, targets, seen = _task(encoder, decoder, sequences, lengths)
            errors = (head(outputs) - targets).square().mean(2)[seen]
            loss = errors.sum() / gather_rows(seen.sum(0)).sum()
            optimizer.zero_grad()
            loss.backward()
        sum_gradients(parameters)
        mean = float(gather_rows(loss.detach().reshape(1)).sum())
        if not torch.isfinite(torch.tensor(mean)):
            raise RuntimeError(f"pretraining diverged at step {step} with lr={lr}; a smaller lr may help")
        optimizer.step()
        yield PretrainStep(step, mean)
    rnn.zero_grad()
    rnn.train(training)


def _task(
    encoder: Sequence[Layer], decoder: Sequence[Layer], sequences: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs ``(T', N, H)`` to read out, the values ``(T', N, I)`` they should give, and which count, ``(T', N)``.

    With a decoder, the sequences are given back from the encoder's final states, each value after those before it.
    Without one, each next value is told by the encoder itself.
    """
    steps = torch.arange(len(sequences), device=sequences.device).unsqueeze(1)
    if decoder:
        states = reachable_states(encoder, sequences, lengths)
        before = torch.cat([torch.zeros_like(sequences[:1]), sequences[:-1]])
        return _run(decoder, before, states), sequences, steps < lengths
    return _run(encoder, sequences[:-1]), sequences[1:], steps[1:] < lengths


def _run(layers: Sequence[Layer], input: Tensor, states: Sequence[State] | None = None) -> Tensor:
    """Outputs of the last layer, ``(T, N, H)``, from given states or from zero."""
    for index, layer in enumerate(layers):
        input, _ = layer.run(input, None if states is None else states[index])
    return input


def _read_out(layers: Sequence[Layer], sequences: Tensor, seed: int) -> nn.Linear:
    """A new linear layer from the outputs of a stack back to its inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(_run(layers, sequences[:1]).shape[2], sequences.shape[2])
    return head.to(sequences)
