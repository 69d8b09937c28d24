"""Named streams of random numbers: every draw says whose it is."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a new CPU generator that depends on a seed and a name alone.

    Streams of different names are independent, also where seeds and counters are small neighbouring numbers.
    The global stream of torch is neither read nor moved.

    Args:
        seed: Any integer.
        names: What is drawn, for instance ``"copy_first_input", "train"``.
    """
    label = "/".join(str(part) for part in (seed, *names))
    digest = hashlib.sha256(label.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
