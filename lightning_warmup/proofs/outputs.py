"""What a network answers on strings, and how far that is from right answers and from those of a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.proofs.automata import Automaton

LEAD = 0.1
"""Least lead of a right answer that is asked for."""


def run(network: nn.Module, readout: nn.Linear | None, inputs: Tensor, h_0: Any = None) -> tuple[Tensor, Any]:
    """Return the outputs ``(T, N, O)`` of a network and its final states, for inputs ``(T, N, I)``."""
    dtype = next(network.parameters()).dtype
    batch_first = bool(getattr(network, "batch_first", False))
    x = inputs.to(dtype)
    outputs, state = network(x.transpose(0, 1) if batch_first else x, h_0)
    outputs = outputs if readout is None else readout(outputs)
    return outputs.transpose(0, 1) if batch_first else outputs, state


def leads(outputs: Tensor, answers: Tensor) -> Tensor:
    """Return by how much answers lead over all other outputs; where none is asked for it means nothing.

    Args:
        outputs: ``(..., O)``.
        answers: Right answers, ``(...)``, -1 for none.
    """
    right = answers.clamp(min=0)[..., None]
    others = outputs.scatter(-1, right, -torch.inf).amax(-1)
    return outputs.gather(-1, right).squeeze(-1) - others


def changed(outputs: Tensor, taught: Tensor, automaton: Automaton, states: Tensor) -> Tensor:
    """Return how far outputs are from a teacher's, wherever these are right, and from leading.

    Args:
        outputs: ``(T, N, O)``.
        taught: Those of the teacher, ``(T, N, O)``.
        automaton: The language and its answers.
        states: Its states, ``(T, N)``.
    """
    answers = automaton.answer_of[states]
    asked = answers >= 0
    known = ~asked | (leads(taught, answers) > 0)
    kept = ((outputs - taught).square().mean(2) * known).mean()
    return kept + (torch.relu(LEAD - leads(outputs, answers)) * asked).mean()
