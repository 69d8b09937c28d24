"""Runs packed sequences through layers that take padded ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lightning_warmup.engine.state import State, map_state


def run_packed(
    run: Callable[[Tensor, State | None], tuple[Tensor, State]], packed: PackedSequence, h_0: State | None
) -> tuple[PackedSequence, State]:
    """Return the packed output of a layer for packed sequences, and the state at the end of each sequence.

    Args:
        run: ``(input, state) -> (output, state)``, time first: ``(T, B, I)`` to ``(T, B, H)``.
        packed: The sequences.
        h_0: States in the order in which the sequences were packed, ``(L, B, H)``; None is zero.
    """
    data, sizes, order, back = packed
    state = h_0 if h_0 is None or order is None else _pick(h_0, order)
    outputs, finished, start = [], [], 0
    counts, steps = torch.unique_consecutive(sizes, return_counts=True)
    counts, following = counts.tolist(), [*counts.tolist()[1:], 0]
    for count, left, length in zip(counts, following, steps.tolist(), strict=True):
        chunk = data[start : start + length * count].unflatten(0, (length, count))
        output, state = run(chunk, state)
        outputs.append(output.flatten(0, 1))
        finished.append(map_state(lambda tensor, n=left: tensor[:, n:], state))  # the shortest come last
        state = map_state(lambda tensor, n=left: tensor[:, :n].contiguous(), state)
        start += length * count
    h_n = map_state(lambda *parts: torch.cat(parts[::-1], 1), *finished)
    result = PackedSequence(torch.cat(outputs), sizes, order, back)
    return result, h_n if back is None else _pick(h_n, back)


def _pick(state: State, rows: Tensor) -> State:
    return map_state(lambda tensor: tensor.index_select(1, rows), state)
