"""How processes stay equal: all see the same global batch, compute the same, and copy from the first process."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return distributed.get_rank() if world_size() > 1 else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all P processes in order of rank, ``(N / P, ...)`` to ``(N, ...)``."""
    if world_size() == 1:
        return rows
    gathered = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
    distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)


def gather_batch(batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Gather sequences, ``(T, N / P, I)`` to ``(T, N, I)``, and their lengths, ``(N / P,)`` to ``(N,)``, or None.

    The process with the fewest sequences decides how many each one gives. If T differs, or some have lengths,
    sequences are padded to the longest, and all have lengths.
    """
    if world_size() == 1:
        return batch
    sequences, lengths = batch
    length, count, _ = sequences.shape
    sizes = gather_rows(torch.tensor([[length, count, lengths is not None]], device=sequences.device))
    longest, rows = int(sizes[:, 0].max()), int(sizes[:, 1].min())
    if sizes[:, 2].any() or (sizes[:, 0] < longest).any():
        lengths = torch.full((count,), length) if lengths is None else lengths
        lengths = gather_rows(lengths[:rows].to(sequences.device))
        sequences = pad(sequences, (0, 0, 0, 0, 0, longest - length))
    return gather_rows(sequences[:, :rows].transpose(0, 1)).transpose(0, 1), lengths


def fewest(number: int, device: torch.device) -> int:
    """Return the smallest number of all processes."""
    return int(gather_rows(torch.tensor([number], device=device)).min())


def take_from_first(tensor: Tensor) -> Tensor:
    """Overwrite a tensor with that of the first process, and return it: processes may round differently."""
    if world_size() > 1:
        distributed.broadcast(tensor, src=0)
    return tensor
