"""What a user is told of a memory at a network's side: whether it is silent, and how the loss reads it."""

from __future__ import annotations

from torch import nn

from lightning_warmup.networks.side_memory import SideMemory

UNHEARD = (
    "the loss does not read the outputs of the memory at the network's side; if it reads h_n[-1], "
    "take last_output(h_n), which is silent at first"
)
STATES = (
    "the loss reads more of the memory at the network's side than its outputs, which alone are silent at first: "
    "its states, as in h_n, or its weights"
)
IN_USE = (
    "the memory at the network's side is in use already (its gains are not 0); "
    "a warmup changes what it has learnt"
)


def _memories(rnn: nn.Module) -> list[SideMemory]:
    return [part for part in rnn.modules() if isinstance(part, SideMemory)]


def _is_in_use(memory: SideMemory) -> bool:
    """Return whether a memory is no longer silent."""
    return any(bool(gain.any()) for gain in memory.gains)


def memory_in_use(rnn: nn.Module) -> str | None:
    """Return what a warmup of a memory that training has taken up means, or None if there is none."""
    return IN_USE if any(map(_is_in_use, _memories(rnn))) else None


def memory_misread(rnn: nn.Module) -> str | None:
    """Return what is wrong with how a loss reads a memory, by the first gradients, or None.

    Behind gains of 0, a gradient of the outputs does not reach the memory's weights; one of the states does.
    """
    reached = any(parameter.grad is not None for parameter in rnn.parameters())
    for memory in _memories(rnn) if reached else []:
        if memory.gains[-1].requires_grad and memory.gains[-1].grad is None:
            return UNHEARD
        if _is_in_use(memory):
            continue
        gradients = [p.grad for p in memory.memory.parameters() if p.grad is not None]
        if any(gradient.isfinite().all() and gradient.any() for gradient in gradients):
            return STATES
    return None
