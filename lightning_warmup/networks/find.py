"""Finds the recurrent network of a module."""

from __future__ import annotations

import torch
from torch import nn

from lightning_warmup.cells import GatedCell
from lightning_warmup.networks.double import DoubleLayer
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.networks.side_memory import SideMemory
from lightning_warmup.networks.unrolled import Unrolled

KNOWN = (
    RecurrentNetwork,
    SideMemory,
    DoubleLayer,
    GatedCell,
    Unrolled,
    nn.RNNBase,
    nn.RNNCellBase,
)


def find_network(module: nn.Module, name: str | None = None) -> nn.Module:
    """Return the recurrent network of a module, which may be the module itself.

    Args:
        module: Where to look.
        name: Attribute that holds it; dots are allowed. None looks for the only one.

    Raises:
        ValueError: If there is no such attribute, or not exactly one recurrent network.
    """
    if name is not None:
        try:
            named = module.get_submodule(name)
        except AttributeError:
            raise ValueError(f"network={name!r}: {type(module).__name__} has no such module") from None
        if type(named) in vars(nn).values() and not isinstance(
            named, (nn.RNNBase, nn.RNNCellBase, nn.ModuleList)
        ):
            raise ValueError(f"network={name!r}: is a {type(named).__name__}, must be a recurrent network")
        if isinstance(named, torch.jit.ScriptModule):
            wanted = "must not be scripted or traced; do that after the training"
            raise ValueError(f"network={name!r}: {wanted}")
        return named
    if isinstance(module, KNOWN):
        return module
    found: dict[str, nn.Module] = {}
    for path, child in module.named_modules():
        if isinstance(child, KNOWN) and not any(f".{path}".startswith(f".{outer}.") for outer in found):
            found[path] = child
    if not found:
        raise ValueError(
            f"network=None: {type(module).__name__} holds no recurrent network; name the module to use"
        )
    if len(found) != 1:
        holds = f"{type(module).__name__} holds {len(found)} recurrent networks ({', '.join(found)})"
        raise ValueError(f"network=None: must name the one to use, {holds}")
    return found.popitem()[1]
