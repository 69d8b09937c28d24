"""Gates, the parts of a recurrent step, and their weights.

A step is elementwise: units interact only inside its gates, which compute

    gate(v) = W x_t + b + U v        dense
    gate(v) = W x_t + b + u * v      diagonal
    gate()  = W x_t + b              not recurrent

Shapes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

Step = Callable[..., Any]  # step(*states, gate) -> the next state, or a tuple of next states


@dataclass(frozen=True)
class Gate:
    """A gate: the sum of an input projection with a bias, and a recurrent part.

    Attributes:
        recurrent: "dense" for a matrix over all units, "diagonal" for one weight per unit, or None.
        input: Whether the gate sees the input. Only a dense gate can do without it.

    Raises:
        ValueError: If ``recurrent`` is unknown, or a gate without input is not dense.
    """

    recurrent: Literal["dense", "diagonal"] | None = "dense"
    input: bool = True

    def __post_init__(self) -> None:
        if self.recurrent not in ("dense", "diagonal", None):
            raise ValueError(f"recurrent={self.recurrent!r}: choose 'dense', 'diagonal' or None")
        if self.recurrent != "dense" and not self.input:
            raise ValueError(f"input=False: a gate with recurrent={self.recurrent!r} must see the input")


class Weights(NamedTuple):
    """Weights of one gate, or of several gates stacked in rows, named as in torch; None for missing ones."""

    weight_ih: Tensor | None  # (H, I)
    weight_hh: Tensor | None  # (H, H)
    weight_diag: Tensor | None  # (H,)
    bias_ih: Tensor | None  # (H,)
    bias_hh: Tensor | None  # (H,)


class Inputs(NamedTuple):
    """The inputs of a run over time; also used for their gradients, and for which gradients are needed."""

    x: Any  # (T, B, I)
    weights: Weights  # stacked over the gates
    states: Sequence[Any]  # initial states, (B, H) each

    @classmethod
    def from_flat(cls, flat: Sequence[Any]) -> Inputs:
        x, *rest = flat
        count = len(Weights._fields)
        return cls(x, Weights(*rest[:count]), rest[count:])

    def flat(self) -> tuple[Any, ...]:
        return self.x, *self.weights, *self.states


def members(gates: Mapping[str, Gate]) -> dict[str, list[bool]]:
    """Return which gates have rows in each field of :class:`Weights`."""
    takes_input = [gate.input for gate in gates.values()]
    dense, diagonal = ([gate.recurrent == kind for gate in gates.values()] for kind in ("dense", "diagonal"))
    return dict(zip(Weights._fields, (takes_input, dense, diagonal, takes_input, dense), strict=True))


def split(gates: Mapping[str, Gate], stacked: Weights) -> dict[str, Weights]:
    """Return views of stacked weights, gate by gate."""
    columns = []
    for tensor, has_rows in zip(stacked, members(gates).values(), strict=True):
        parts = iter(() if tensor is None else tensor.chunk(sum(has_rows)))
        columns.append([next(parts, None) if has else None for has in has_rows])
    return {name: Weights(*row) for name, row in zip(gates, zip(*columns, strict=True), strict=True)}


def stacked_weights(cell: nn.Module) -> Weights:
    """Return the stacked weights of a cell: its parameters ``weight_ih_l0`` and so on."""
    return Weights(*(getattr(cell, f"{name}_l0", None) for name in Weights._fields))


def gate_weights(cell: Any) -> dict[str, Weights]:
    """Return views of a cell's weights by gate name; writing to a view changes the cell."""
    return split(cell.gates, stacked_weights(cell))


def as_tuple(states: Any) -> tuple[Tensor, ...]:
    """Return one state, or several in a tuple or list, as a tuple."""
    return tuple(states) if isinstance(states, (tuple, list)) else (states,)
