"""BRC, NBRC and MGU by Triton: an experiment, off unless :func:`use_triton` is called.

A step of these cells is one or two elementwise stages, with matrix products before them where gates are dense.
One kernel computes a stage, another its derivatives and the adjoints.

* BRC, whose recurrence is diagonal, launches once for the whole sequence, and once for its adjoint.
* NBRC and MGU launch once a stage and step. With the products that makes 2 calls a step for NBRC and 4 for MGU,
  and as many in the backward pass.

What is known: values and gradients equal those of the engine in Triton's interpreter, on the CPU, and the
kernels compile for CUDA. They have never run on a GPU, and nothing is known of their speed. At first use on a
device they are compared with the engine there. Not offered: derivatives of higher order, half precision.

Shapes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden, ``G`` gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn import functional as F
from triton.language import constexpr

from lightning_warmup import engine
from lightning_warmup.cells import BRC, MGU, NBRC
from lightning_warmup.gate import Gate, Weights, stacked_weights

BLOCK = constexpr(128)  # entries of a program; not tuned


@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _tanh(x):
    return 2 * _sigmoid(2 * x) - 1


# A stage takes the state and the values of three gates (of two, the first comes again as the third). It returns
# its result, and the derivatives of that by the state and by the gates.


@triton.jit
def _bistable(h, c, a, x):
    keep, excess = _sigmoid(c), _tanh(a)
    new = _tanh(x + h + excess * h)
    slope = (1 - keep) * (1 - new * new)
    by_c, by_a = (h - new) * keep * (1 - keep), slope * h * (1 - excess * excess)
    return new + keep * (h - new), keep + slope * (1 + excess), by_c, by_a, slope


@triton.jit
def _reset(h, f, x, _):
    f = _sigmoid(f)
    return f * h, f, h * f * (1 - f), 0 * h, 0 * h


@triton.jit
def _update(h, f, x, _):
    f, new = _sigmoid(f), _tanh(x)
    return h + f * (new - h), 1 - f, (new - h) * f * (1 - f), f * (1 - new * new), 0 * h


@triton.jit
def _load(values, u, v, h, mask, H, G: constexpr):
    """Returns the values of three gates, given those without u h and v h in the first and the second."""
    p, q = tl.load(values, mask) + u * h, tl.load(values + H, mask) + v * h
    return p, q, tl.load(values + 2 * H, mask) if G > 2 else p


@triton.jit
def _forward(state, values, weight, output, T, N, H, time, STAGE: constexpr, G: constexpr):
    """Runs a stage over time: state (B, H), values (T, B, G H), weight (2 H) or None, output (T, B, H).

    N is B H, and time what separates two steps in the values.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask, column = i < N, i % H
    values, output = values + i // H * (G * H) + column, output + i
    h = tl.load(state + i, mask)
    u = 0 * h if weight is None else tl.load(weight + column, mask)
    v = 0 * h if weight is None else tl.load(weight + H + column, mask)
    for _ in range(T):
        p, q, r = _load(values, u, v, h, mask, H, G)
        h, _h, _p, _q, _r = STAGE(h, p, q, r)
        tl.store(output, h, mask)
        values, output = values + time, output + N


@triton.jit
def _backward(
    state, values, weight, upper, delta, lower, products, T, N, H, time,
    STAGE: constexpr, G: constexpr, ADD: constexpr,
):  # fmt: skip
    """Carries adjoints back in time. What has a time axis is given by its last step.

    From the state before every step (T, B, H), the values and upper (T, B, H), the adjoint of the output, it sets
    delta (T, B, G H), the adjoint of the values, or adds to it with ADD; adds that of the first state to lower
    (B, H); and, with weights, sets products (B, 2 H), their gradient sequence by sequence.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask, row, column = i < N, i // H, i % H
    state, upper, lower = state + i, upper + i, lower + i
    values, delta = values + row * (G * H) + column, delta + row * (G * H) + column
    carried = tl.full([BLOCK], 0, lower.dtype.element_ty)
    u = carried if weight is None else tl.load(weight + column, mask)
    v = carried if weight is None else tl.load(weight + H + column, mask)
    of_u, of_v = carried, carried
    for _ in range(T):
        h = tl.load(state, mask)
        p, q, r = _load(values, u, v, h, mask, H, G)
        _result, by_h, by_p, by_q, by_r = STAGE(h, p, q, r)
        adjoint = carried + tl.load(upper, mask)
        p, q, r = adjoint * by_p, adjoint * by_q, adjoint * by_r
        carried, of_u, of_v = adjoint * by_h + u * p + v * q, of_u + p * h, of_v + q * h
        tl.store(delta, p + tl.load(delta, mask) if ADD else p, mask)
        tl.store(delta + H, q + tl.load(delta + H, mask) if ADD else q, mask)
        if G > 2:
            tl.store(delta + 2 * H, r + tl.load(delta + 2 * H, mask) if ADD else r, mask)
        state, upper, values, delta = state - N, upper - N, values - time, delta - N * G
    tl.store(lower, tl.load(lower, mask) + carried, mask)
    if weight is not None:
        tl.store(products + row * (2 * H) + column, of_u, mask)
        tl.store(products + row * (2 * H) + H + column, of_v, mask)


INTERPRETED = not isinstance(_forward, triton.JITFunction)
# Stages in order: the function, and from which to which gate the recurrent part must be added before it.
STAGES = {BRC.step: [(_bistable, 0, 2)], MGU.step: [(_reset, 0, 1), (_update, 1, 2)]}


def _grid(entries: int) -> tuple[int]:
    return (-(-entries // BLOCK.value),)


def _run(stage: Any, state: Tensor, values: Tensor, result: Tensor) -> None:
    """Computes a stage from any number of states (..., H) and of values of the gates (..., G H)."""
    N, H = state.numel(), state.size(-1)
    _forward[_grid(N)](state, values, None, result, 1, N, H, 0, stage, values.size(-1) // H)


def _refuse_higher_order() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "Triton's kernels have first derivatives only: call use_triton(network, False) first"
        )


class _Diagonal(torch.autograd.Function):
    """BRC: projections (T, B, 3 H), diagonal weights (2 H), h_0 (B, H) -> output (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, step: Any, projection: Tensor, weight: Tensor, h_0: Tensor) -> Tensor:
        output = projection.new_empty(len(projection), *h_0.shape)
        N, H, stage = h_0.numel(), h_0.size(1), STAGES[step][0][0]
        ctx.sizes = len(output), N, H, projection.stride(0), stage, 3
        _forward[_grid(N)](h_0, projection, weight, output, *ctx.sizes)
        ctx.save_for_backward(projection, weight, h_0, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        _refuse_higher_order()
        projection, weight, h_0, output = ctx.saved_tensors
        previous, gradient = torch.cat((h_0.unsqueeze(0), output[:-1])), gradient.contiguous()
        delta, of_h_0 = projection.new_empty(projection.shape), torch.zeros_like(h_0)
        products = h_0.new_empty(len(h_0), len(weight))
        last = previous[-1], projection[-1], weight, gradient[-1], delta[-1]
        _backward[_grid(h_0.numel())](*last, of_h_0, products, *ctx.sizes, False)
        return None, delta, products.sum(0), of_h_0


class _Dense(torch.autograd.Function):
    """NBRC and MGU: projections (T, B, G H), weights of the dense gates (., H), h_0 (B, H) -> output (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, step: Any, projection: Tensor, weight: Tensor, h_0: Tensor) -> Tensor:
        values = projection.clone(memory_format=torch.contiguous_format)  # come to hold those of the gates
        output, inner, H = values.new_empty(len(values), *h_0.shape), torch.empty_like(h_0), h_0.size(1)
        ctx.stages = [(stage, slice(start * H, stop * H)) for stage, start, stop in STAGES[step]]
        state = h_0
        for row, result in zip(values.unbind(0), output.unbind(0), strict=True):
            argument = state
            for stage, gates in ctx.stages:
                row[:, gates].addmm_(argument, weight[gates].t())
                argument = result if stage is ctx.stages[-1][0] else inner
                _run(stage, state, row, argument)
            state = result
        ctx.save_for_backward(values, weight, h_0, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        _refuse_higher_order()
        values, weight, h_0, output = ctx.saved_tensors
        N, H, first = h_0.numel(), h_0.size(1), h_0.unsqueeze(0)
        previous, delta = torch.cat((first, output[:-1])), torch.empty_like(values)
        adjoints = torch.cat((torch.zeros_like(first), gradient))  # of h_0 and of the output
        for t in reversed(range(len(values))):
            upper, lower, add = adjoints[t + 1], adjoints[t], False
            for stage, gates in reversed(ctx.stages):
                tensors = previous[t], values[t], None, upper, delta[t], lower, None
                _backward[_grid(N)](*tensors, 1, N, H, 0, stage, values.size(2) // H, add)
                if gates.start == 0:
                    lower.addmm_(delta[t][:, gates], weight[gates])
                else:
                    upper, add = delta[t][:, gates] @ weight[gates], True
        of_weight, argument = torch.empty_like(weight), previous
        for stage, gates in ctx.stages:
            of_weight[gates] = delta[..., gates].flatten(0, 1).t() @ argument.flatten(0, 1)
            if stage is not ctx.stages[-1][0]:
                argument = torch.empty_like(previous)
                _run(stage, previous, values, argument)
        return None, delta, of_weight, adjoints[0]


def _scan(step: Any, gates: Any, x: Tensor, states: Sequence[Tensor], stacked: Any) -> tuple[Tensor, ...]:
    constant = len(x) > 1 and x.stride(0) == 0
    projection = F.linear(x[:1] if constant else x, stacked.weight_ih, stacked.bias_ih).contiguous()
    arguments = step.__func__, projection.expand(len(x), -1, -1)
    with torch.cuda.device_of(x):
        if stacked.weight_diag is None:
            output = _Dense.apply(*arguments, stacked.weight_hh, states[0].contiguous())
        else:
            output = _Diagonal.apply(*arguments, stacked.weight_diag, states[0].contiguous())
    return output, output[-1]


@cache
def _check(cell_class: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Raises RuntimeError unless a small random run agrees with the engine, in values and gradients."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.default_generator.manual_seed(0)
        cell = cell_class(3, 5).to(device, dtype)
        x, h_0, w = (torch.randn(size).to(device, dtype) for size in ((4, 2, 3), (2, 5), (4, 2, 5)))
        inputs = [x.requires_grad_(), h_0.requires_grad_(), *cell.parameters()]
        results = []
        for run in (_scan, engine.scan):
            output, _ = run(cell.step, cell.gates, x, [h_0], stacked_weights(cell))
            results.append([output, *torch.autograd.grad((output * w).sum(), inputs)])
    tolerance = 1e-9 if dtype == torch.float64 else 1e-2  # products may be rounded to ten bits
    if not all(torch.allclose(a, b, tolerance, tolerance) for a, b in zip(*results, strict=True)):
        raise RuntimeError(f"{cell_class.__name__} by Triton and on the engine differ on {device}")


def scan(
    step: Any, gates: Mapping[str, Gate], x: Tensor, states: Sequence[Tensor], stacked: Weights
) -> tuple[Tensor, ...]:
    """Runs BRC, NBRC or MGU over time: the arguments, values and gradients of ``engine.scan``.

    Raises:
        RuntimeError: x is not on a CUDA device and Triton does not interpret, or the results are wrong there.
        ValueError: the weights are neither float32 nor float64.
    """
    if not (x.is_cuda or INTERPRETED):
        raise RuntimeError(f"input is on {x.device}: Triton's kernels need CUDA, or TRITON_INTERPRET=1")
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"input is {x.dtype}: Triton's kernels take float32 and float64")
    _check(step.__self__.__class__, x.device, x.dtype)
    return _scan(step, gates, x, states, stacked)


def use_triton(network: nn.Module, enabled: bool = True) -> None:
    """Lets the BRC, NBRC and MGU layers of a network run by Triton, on CUDA, or on the engine again.

    With TRITON_INTERPRET=1 set before this module is imported they run anywhere, very slowly, to be checked.

    Raises:
        ValueError: the network has no such layer. Subclasses are passed over: their equations may differ.
    """
    cells: list[Any] = [module for module in network.modules() if type(module) in (BRC, NBRC, MGU)]
    if not cells:
        raise ValueError(f"{type(network).__name__} has no BRC, NBRC or MGU: nothing can run by Triton")
    for cell in cells:
        cell.engine = scan if enabled else engine.scan
