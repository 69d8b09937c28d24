"""Named streams of random numbers: every draw says whose it is."""

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a new CPU generator that depends on a seed and a name alone.

    Streams of different names are independent, also where seeds and counters are small neighbouring numbers. The
    names say what is drawn, for instance ``"copy_first_input", "train"``.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
