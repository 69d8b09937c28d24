"""Gates: what a recurrent step is made of, and where their weights lie.

A step is elementwise. Units meet only inside its gates, which add up

    gate(v) = W x_t + b + U v        dense
    gate(v) = W x_t + b + u * v      diagonal
    gate()  = W x_t + b              not recurrent

Shapes: ``I`` input, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

Step = Callable[..., Any]  # step(*states, gate) -> the next state, or a tuple of next states


@dataclass(frozen=True)
class Gate:
    """What a gate adds up: an input projection with its bias, and a recurrent part.

    Attributes:
        recurrent: "dense" for a matrix over all units, "diagonal" for one weight per unit, None for neither.
        input: whether the gate sees the input; only a dense one may not.
    """

    recurrent: Literal["dense", "diagonal"] | None = "dense"
    input: bool = True

    def __post_init__(self) -> None:
        if self.recurrent not in ("dense", "diagonal", None):
            raise ValueError(f"recurrent={self.recurrent!r}: choose 'dense', 'diagonal' or None")
        if self.recurrent != "dense" and not self.input:
            raise ValueError(f"input=False: a gate with recurrent={self.recurrent!r} must see the input")


class Weights(NamedTuple):
    """Weights of one gate, named as in torch, or of several, stacked in rows; None where there is none."""

    weight_ih: Tensor | None  # (H, I)
    weight_hh: Tensor | None  # (H, H)
    weight_diag: Tensor | None  # (H,)
    bias_ih: Tensor | None  # (H,)
    bias_hh: Tensor | None  # (H,)


def rows(gates: Mapping[str, Gate]) -> dict[str, list[bool]]:
    """Returns for each field of ``Weights`` which gates have rows in it."""
    takes_input = [gate.input for gate in gates.values()]
    dense = [gate.recurrent == "dense" for gate in gates.values()]
    diagonal = [gate.recurrent == "diagonal" for gate in gates.values()]
    return dict(zip(Weights._fields, (takes_input, dense, diagonal, takes_input, dense), strict=True))


def split(gates: Mapping[str, Gate], stacked: Weights) -> dict[str, Weights]:
    """Returns views of stacked weights, gate by gate."""
    columns = []
    for tensor, members in zip(stacked, rows(gates).values(), strict=True):
        parts = iter(() if tensor is None else tensor.chunk(sum(members)))
        columns.append([next(parts, None) if member else None for member in members])
    return {name: Weights(*row) for name, row in zip(gates, zip(*columns, strict=True), strict=True)}


def stacked_weights(cell: nn.Module) -> Weights:
    """Returns the stacked weights of a single-layer cell: its parameters ``weight_ih_l0`` and so on."""
    return Weights(*(getattr(cell, f"{name}_l0", None) for name in Weights._fields))


def gate_weights(cell: Any) -> dict[str, Weights]:
    """Returns views of a cell's weights by the names of its gates; writing to them sets its parameters."""
    return split(cell.gates, stacked_weights(cell))


def as_tuple(states: Any) -> tuple[Tensor, ...]:
    """Returns the result of a step as a tuple of states."""
    return states if isinstance(states, tuple) else (states,)
