"""Interval arithmetic for recurrent steps: bounds on what a step does to a whole box of states.

An :class:`Interval` is a tensor of which lower and upper ends are known. Both ends are kept, rather than a midpoint
and a radius: a monotone function is exact at the ends, and most of a step is monotone; the matrix product alone is
computed by midpoint and radius.

**Rounding.** Results hold for real numbers. Every operation computes its ends in floating point and then moves
them outwards by a bound on its own rounding error. Let u = eps / 2 be the unit roundoff.

- Sum, difference and product of two numbers are rounded correctly: the error is at most u times the result. The
  ends move by 2 eps, four times that, which leaves room for the roundings of the move itself.
- tanh, sigmoid and exp of torch (SLEEF, MKL or the C library) err by 4 units in the last place at most, which is
  4 eps; the ends move by 16 eps. Both functions are clamped to their ranges, where the real values lie.
- A product of a matrix with a vector, in any order of summation and with fused operations or without, errs by
  gamma_n = n u / (1 - n u) times |W| |v| at most (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1).
- Underflow adds an error below the least normal number to any of them; the ends move by some such numbers too.

The moves are differentiable, so that bounds can be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

CORRECTLY_ROUNDED, ELEMENTARY = 2, 16
"""By how many eps, relative to themselves, ends move after an operation of each kind."""
FLOAT32 = 2**30
"""By how many eps of float64 they move before they are rounded to less: two eps of float32."""
UNDERFLOWS = 64
"""By how many least normal numbers they move besides."""
LEAST_SHARE = 1e-12
"""Least share of a candidate in a step: an LSTM that forgets less is not known to move anywhere."""

Bounded: TypeAlias = "Interval | Tensor | float"


class Interval:
    """All tensors between two of the same shape, entry by entry; torch's functions take it as they take a tensor.

    Known are the functions of :data:`FUNCTIONS`, as functions, methods and operators. A tensor or a number that
    meets an interval is an interval of a single point.

    Args:
        lower, upper: The ends, floating-point tensors of one shape.
        held: Whether these are the states before a step. ``lerp`` and ``addcmul`` note what a held interval moves
            towards as the ``candidate`` of their result. Trainings use it; it is not rounded outwards.

    Raises:
        TypeError: Where a function is asked for that has no bounds here.
    """

    def __init__(self, lower: Tensor, upper: Tensor, held: bool = False) -> None:
        self.lower, self.upper, self.held = lower, upper, held
        self.candidate: Interval | None = None

    @classmethod
    def around(cls, centre: Tensor, radius: Tensor | float) -> Interval:
        """Return the interval of a centre and a radius, rounded outwards."""
        return _outwards(centre - radius, centre + radius)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__
        plain = name[2:-2] if name.startswith("__") else name
        if plain not in FUNCTIONS:
            raise TypeError(f"torch.{name}: has no bounds on intervals; known are {', '.join(FUNCTIONS)}")
        return FUNCTIONS[plain](*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in FUNCTIONS:
            raise TypeError(f"Tensor.{name}: has no bounds on intervals; known are {', '.join(FUNCTIONS)}")
        return partial(FUNCTIONS[name], self)

    def __add__(self, other: Bounded) -> Interval:
        return add(self, other)

    def __sub__(self, other: Bounded) -> Interval:
        return sub(self, other)

    def __rsub__(self, other: Bounded) -> Interval:
        return sub(other, self)

    def __mul__(self, other: Bounded) -> Interval:
        return mul(self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Interval:
        return neg(self)

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Any) -> Interval:
        return Interval(self.lower[index], self.upper[index])

    def __repr__(self) -> str:
        return f"Interval(lower={self.lower}, upper={self.upper})"

    @property
    def shape(self) -> torch.Size:
        return self.lower.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.lower.dtype


def as_interval(value: Bounded, like: Interval | None = None) -> Interval:
    """Return a tensor or a number as an interval of one point, of the dtype of another; an interval is itself.

    A number of less precision is taken as it is; one of more is refused, since it would be rounded.
    """
    if isinstance(value, Interval):
        return value
    dtype = like.dtype if like is not None else None
    point = torch.as_tensor(value, dtype=dtype) if isinstance(value, (int, float)) else value
    if dtype is not None and torch.promote_types(point.dtype, dtype) != dtype:
        raise TypeError(f"dtype={point.dtype}: must be {dtype} or less precise, as the interval")
    point = point if dtype is None else point.to(dtype)
    return Interval(point, point)


def widened(a: Interval, radius: float) -> Interval:
    """Return all that is within a radius of an interval, entry by entry."""
    return _outwards(a.lower - radius, a.upper + radius) if radius else a


def stored(a: Interval | Tensor, precision: torch.dtype) -> Any:
    """Round to the nearest numbers of a precision. That is monotone, so that the ends of an interval are rounded.

    torch rounds to float16 by way of float32: the ends first move outwards by more than the error of that.
    """
    if isinstance(a, Tensor):
        return a.to(precision).to(a.dtype)
    wider = _outwards(a.lower, a.upper, FLOAT32)
    return Interval(stored(wider.lower, precision), stored(wider.upper, precision))


def add(a: Bounded, b: Bounded) -> Interval:
    """Add: the ends add up."""
    a, b = _both(a, b)
    return _outwards(a.lower + b.lower, a.upper + b.upper)


def sub(a: Bounded, b: Bounded) -> Interval:
    """Subtract: the lower end is that of a less the upper one of b."""
    a, b = _both(a, b)
    return _outwards(a.lower - b.upper, a.upper - b.lower)


def neg(a: Interval) -> Interval:
    """Negate: the ends change places."""
    return Interval(-a.upper, -a.lower)


def mul(a: Bounded, b: Bounded) -> Interval:
    """Multiply: a product is linear in each factor, so that its extremes are at the ends of both."""
    a, b = _both(a, b)
    products = [x * y for x in (a.lower, a.upper) for y in (b.lower, b.upper)]
    return _outwards(reduce(torch.minimum, products), reduce(torch.maximum, products))


def addcmul(a: Bounded, b: Bounded, c: Bounded, *, value: float = 1) -> Interval:
    """Add a product, ``value`` times.

    With b in [0, 1], as the forget gate of an LSTM, a + b c is a convex combination of c and of a / (1 - b).
    """
    product = mul(b, c)
    result = add(a, product if value == 1 else mul(product, value))
    if isinstance(c, Interval) and c.held and value == 1:
        a, b = as_interval(a, c), as_interval(b, c)
        if bool(((b.lower >= 0) & (b.upper <= 1)).all()):
            shares = [(1 - end).clamp(min=LEAST_SHARE) for end in (b.lower, b.upper)]
            lower, upper = ([end / share for share in shares] for end in (a.lower, a.upper))
            result.candidate = Interval(torch.minimum(*lower), torch.maximum(*upper))
    return result


def lerp(start: Bounded, end: Bounded, weight: Bounded) -> Interval:
    """Interpolate; with weights in [0, 1] that is a convex combination, and is never bounded by more than that.

    (1 - w) a + w b grows with a and with b, and is linear in w: its least value is at the lower ends of a and b and
    at one end of w. It lies between a and b whatever w is, so that no rounding leads beyond their common hull. A
    step that holds its state by a weight of nearly 1 so gets bounds that do not creep.
    """
    if isinstance(start, Interval):
        start, end = _both(start, end)
    else:
        end, start = _both(end, start)
    weight = as_interval(weight, start)
    if bool((weight.lower < 0).any() | (weight.upper > 1).any()):
        return add(start, mul(weight, sub(end, start)))

    def ends(a: Tensor, b: Tensor) -> list[Tensor]:
        return [(1 - w) * a + w * b for w in (weight.lower, weight.upper)]

    # Two products and two sums err by 4 u times the greater of |a| and |b| each, 4 eps in all.
    size = torch.maximum(_magnitude(start), _magnitude(end))
    margin = 8 * torch.finfo(start.dtype).eps * size + UNDERFLOWS * torch.finfo(start.dtype).tiny
    lower = torch.minimum(*ends(start.lower, end.lower)) - margin
    upper = torch.maximum(*ends(start.upper, end.upper)) + margin
    result = Interval(
        torch.maximum(lower, torch.minimum(start.lower, end.lower)),
        torch.minimum(upper, torch.maximum(start.upper, end.upper)),
    )
    if start.held != end.held:
        result.candidate = end if start.held else start
    return result


def linear(input: Interval, weight: Tensor, bias: Tensor | None = None) -> Interval:
    """Multiply with a matrix: W v for |v - m| <= r lies within |W| r of W m.

    With n entries and a bias, in which each weight may have been rounded once, the product W m errs by
    gamma_(n+2) (|W| |m| + |b|) at most; the computed radius is too small by a factor of 1 - gamma_(n+4) at most.
    """
    info = torch.finfo(input.dtype)
    weight = weight.to(input.dtype)
    gamma = (weight.shape[-1] + 8) * info.eps  # more than twice gamma_(n+4)
    middle = (input.lower + input.upper) / 2
    radius = torch.maximum(input.upper - middle, middle - input.lower) * (1 + 4 * info.eps)
    reach = F.linear(radius + gamma * middle.abs(), weight.abs())
    value = F.linear(middle, weight)
    if bias is not None:
        bias = bias.to(input.dtype)
        value, reach = value + bias, reach + gamma * bias.abs()
    reach = reach * (1 + gamma) + UNDERFLOWS * weight.shape[-1] * info.tiny
    return _outwards(value - reach, value + reach)


def _monotone(
    function: Callable[[Tensor], Tensor], least: float, greatest: float
) -> Callable[[Interval], Interval]:
    """Return a growing function on intervals: its values at the ends, within its range."""

    def on_intervals(input: Interval) -> Interval:
        result = _outwards(function(input.lower), function(input.upper), ELEMENTARY)
        return Interval(result.lower.clamp(min=least), result.upper.clamp(max=greatest))

    return on_intervals


def relu(input: Interval) -> Interval:
    """Cut off what is below 0, which is exact."""
    return Interval(torch.relu(input.lower), torch.relu(input.upper))


def cat(intervals: Sequence[Bounded], dim: int = 0) -> Interval:
    """Join along an axis."""
    return _joined(torch.cat, intervals, dim)


def stack(intervals: Sequence[Bounded], dim: int = 0) -> Interval:
    """Join along a new axis."""
    return _joined(torch.stack, intervals, dim)


def _joined(join: Callable[..., Tensor], intervals: Sequence[Bounded], dim: int) -> Interval:
    like = next(each for each in intervals if isinstance(each, Interval))
    parts = [as_interval(each, like) for each in intervals]
    return Interval(join([p.lower for p in parts], dim), join([p.upper for p in parts], dim))


def unbind(input: Interval, dim: int = 0) -> list[Interval]:
    """Take apart along an axis."""
    ends = zip(input.lower.unbind(dim), input.upper.unbind(dim), strict=True)
    return [Interval(lower, upper) for lower, upper in ends]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": add,
    "sub": sub,
    "rsub": lambda a, b: sub(b, a),
    "neg": neg,
    "mul": mul,
    "addcmul": addcmul,
    "lerp": lerp,
    "linear": linear,
    "sigmoid": _monotone(torch.sigmoid, 0.0, 1.0),
    "tanh": _monotone(torch.tanh, -1.0, 1.0),
    "relu": relu,
    "cat": cat,
    "stack": stack,
    "unbind": unbind,
}
"""The functions of torch that are known on intervals, by their names."""


def _both(a: Bounded, b: Bounded) -> tuple[Interval, Interval]:
    if isinstance(a, Interval):
        return a, as_interval(b, a)
    assert isinstance(b, Interval)
    return as_interval(a, b), b


def _magnitude(a: Interval) -> Tensor:
    return torch.maximum(a.lower.abs(), a.upper.abs())


def _outwards(lower: Tensor, upper: Tensor, count: int = CORRECTLY_ROUNDED) -> Interval:
    """Move computed ends outwards by ``count`` eps, relative to themselves, and by underflows."""
    info = torch.finfo(lower.dtype)
    relative, absolute = count * info.eps, UNDERFLOWS * info.tiny
    return Interval(lower - (lower.abs() * relative + absolute), upper + (upper.abs() * relative + absolute))
