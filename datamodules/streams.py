"""Named streams of random numbers."""

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a new CPU generator that depends only on a seed and names, such as ``"copy_first_input", "train"``.

    Streams with different names are independent, even if seeds and counters are neighbouring numbers.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
