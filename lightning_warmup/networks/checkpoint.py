"""The network in a checkpoint of a run."""

from __future__ import annotations

from typing import Any

from lightning_warmup.networks.recurrent import RecurrentNetwork


def network_of(checkpoint: dict[str, Any]) -> RecurrentNetwork:
    """Return the ``network`` of the module in a checkpoint, in the precision of its weights."""
    network = RecurrentNetwork(**checkpoint["hyper_parameters"]["network"])
    weights = checkpoint["state_dict"].items()
    own = {name.removeprefix("network."): w for name, w in weights if name.startswith("network.")}
    network.load_state_dict(own)
    return network.to(next(iter(own.values())).dtype)
