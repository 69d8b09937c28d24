"""Rows of states and gradients that several processes share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, 0 without a process group."""
    return distributed.get_rank() if world_size() > 1 else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all processes in order of rank, ``(N / P, H)`` to ``(N, H)``, the same on each of them.

    It is differentiable for a loss that every process computes alike: each takes the gradient of its own rows, and
    :func:`sum_gradients` adds up what they give for the weights.
    """
    if world_size() == 1:
        return rows
    own = rows.contiguous()
    gathered = [torch.empty_like(own) for _ in range(world_size())]
    distributed.all_gather(gathered, own.detach())
    gathered[rank()] = own  # with its gradient
    return torch.cat(gathered)


def gather_sequences(sequences: Tensor) -> Tensor:
    """Gather sequences, ``(T, N / P, I)``, cut to the shortest T of all processes, to ``(T, N, I)``."""
    if world_size() == 1:
        return sequences
    shortest = fewest(len(sequences), sequences.device)
    return gather_rows(sequences[:shortest].transpose(0, 1)).transpose(0, 1)


def gather_batch(batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Gather sequences as :func:`gather_sequences` does, and their lengths, ``(N / P,)``, cut alike, or None."""
    sequences, lengths = gather_sequences(batch[0]), batch[1]
    if lengths is not None:
        lengths = gather_rows(lengths.to(sequences.device)).clamp(max=len(sequences))
    return sequences, lengths


def fewest(number: int, device: torch.device) -> int:
    """Return the least of the numbers that the processes have."""
    return int(gather_rows(torch.tensor([number], device=device)).min())


def of_first(value: float, device: torch.device) -> float:
    """Return the number that the first process has."""
    return value if world_size() == 1 else float(gather_rows(torch.tensor([value], device=device))[0])


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, which may overwrite it."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            sum_over_processes(parameter.grad)
