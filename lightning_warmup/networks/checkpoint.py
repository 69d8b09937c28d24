"""The network in a checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

import torch

from lightning_warmup.networks.recurrent import RecurrentNetwork


def network_of(path: Path) -> RecurrentNetwork:
    """Return the ``network`` of the module in a checkpoint, on the CPU and in the precision of its weights.

    Raises:
        ValueError: If the file is not a checkpoint, is damaged, or has no such network.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = checkpoint["state_dict"].items()
        own = {name.removeprefix("network."): w for name, w in weights if name.startswith("network.")}
        network = RecurrentNetwork(**checkpoint["hyper_parameters"]["network"])
        network.load_state_dict(own)
    except Exception as error:  # of many kinds, by what the file is
        reason = type(error).__name__
        raise ValueError(f"ckpt={str(path)!r}: not a checkpoint of a run, or damaged ({reason})") from None
    return network.to(next(iter(own.values())).dtype)
