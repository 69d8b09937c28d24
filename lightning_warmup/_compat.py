"""Private names of torch and Lightning that are still needed, one function each."""

from __future__ import annotations

import torch


def functorch_active() -> bool:
    """Return whether a transform of ``torch.func`` is running.

    Why: the engine's and torch's fused backward passes have no rule for it. Read in torch 2.13.
    """
    return torch._C._are_functorch_transforms_active()
