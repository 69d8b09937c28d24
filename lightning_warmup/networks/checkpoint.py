"""The network in a checkpoint of a run."""

from __future__ import annotations

from typing import Any

from lightning_warmup.networks.recurrent import RecurrentNetwork


def network_of(checkpoint: dict[str, Any]) -> RecurrentNetwork:
    """Return the ``network`` of the module in a checkpoint, in the precision of its weights.

    Raises:
        ValueError: If it has no such network.
    """
    arguments = checkpoint.get("hyper_parameters", {}).get("network")
    weights = checkpoint.get("state_dict", {}).items()
    own = {name.removeprefix("network."): w for name, w in weights if name.startswith("network.")}
    for name, found in (("hyper_parameters", arguments), ("state_dict", own)):
        if not found:
            raise ValueError(f"checkpoint: has no network in its {name}, must be that of a run")
    network = RecurrentNetwork(**arguments)
    network.load_state_dict(own)
    return network.to(next(iter(own.values())).dtype)
