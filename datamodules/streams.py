"""Named streams of random numbers: every draw says whose it is."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A generator that is a function of a seed and a name alone.

    Streams of different names are independent, also where seeds and counters are small neighbouring numbers,
    and the global stream of torch is neither read nor moved.

    Args:
        seed: Any integer.
        names: What is drawn, for instance ``"copy_first_input", "train"``.

    Returns:
        A new CPU generator at the beginning of its stream.

    Example:
        >>> first, again, other = stream(0, "order", 1), stream(0, "order", 1), stream(1, "order", 0)
        >>> bool((torch.rand(4, generator=first) == torch.rand(4, generator=again)).all())
        True
        >>> first.initial_seed() == other.initial_seed()
        False
    """
    label = "/".join(str(part) for part in (seed, *names))
    digest = hashlib.sha256(label.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
