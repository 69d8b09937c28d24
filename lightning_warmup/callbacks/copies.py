"""Copies of weights that an optimizer holds: those of Lookahead, or an average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@torch.no_grad()
def renew_copies(
    optimizers: Sequence[Optimizer], rnn: nn.Module, earlier: Sequence[Sequence[Tensor]]
) -> None:
    """Bring copies of a network's weights up to date, as if the optimizers had been made just now.

    They would draw the weights back to where they were before a stage. The optimizers themselves stay: callbacks
    and schedules may have changed them, and a module may hold them. So do the parameters that they train: another
    network may begin with the same weights.

    Args:
        optimizers: Optimizers of the training.
        rnn: Network, with the weights of now.
        earlier: Weights of the network that a copy may be of, in the order of its parameters.
    """
    held = [tensor for optimizer in optimizers for tensor in _tensors(vars(optimizer), set())]
    parameters = list(rnn.parameters())
    trained = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    places = {parameter.data_ptr() for parameter in [*parameters, *trained]}
    for weights in earlier:
        for parameter, old in zip(parameters, weights, strict=True):
            if (old == old.flatten()[:1]).all():
                continue  # zeros are no sign of a copy: Adam's averages begin with them
            for tensor in held:
                if tensor.data_ptr() in places or tensor.shape != old.shape:
                    continue
                if torch.equal(tensor.to(old), old):  # a copy may be of another precision
                    tensor.copy_(parameter)


def _tensors(thing: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors in containers, modules and optimizers that an optimizer holds."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for value in thing.values():
            yield from _tensors(value, seen)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from _tensors(value, seen)
    elif isinstance(thing, Optimizer):
        yield from _tensors(vars(thing), seen)
    elif isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.buffers()
