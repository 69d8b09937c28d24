"""The sequence engine against plain loops under autograd."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from lightning_warmup.cells import GRU, LSTM, cell_by_name, cell_names
from lightning_warmup.cells._gated import Gate, GatedCell
from lightning_warmup.engine import backward as adjoint
from lightning_warmup.engine import scan as engine
from lightning_warmup.engine.denormals import chunked, cut
from lightning_warmup.engine.gates import stacked_weights
from lightning_warmup.engine.scan import loop, scan

I, H, B = 3, 5, 2  # noqa: E741


class UserLSTM(GatedCell):
    """Two states, two biases."""

    gates: ClassVar = {name: Gate() for name in "ifgo"}
    states, biases = 2, 2

    def step(self, h: Tensor, c: Tensor, gate: Any) -> tuple[Tensor, Tensor]:
        i, f, g = torch.sigmoid(gate.i(h)), torch.sigmoid(gate.f(h)), torch.tanh(gate.g(h))
        o = torch.sigmoid(gate.o(h))
        c = f * c + i * g
        return o * torch.tanh(c), c


class Nested(GatedCell):
    """Every kind of gate, applied to computed values, one inside the other, on two states."""

    gates: ClassVar = {
        "a": Gate("diagonal"),
        "b": Gate(),
        "c": Gate(input=False),
        "d": Gate("diagonal"),
        "e": Gate(None),
        "k": Gate(),
    }
    states = 2

    def step(self, h: Tensor, s: Tensor, gate: Any) -> tuple[Tensor, Tensor]:
        a = torch.sigmoid(gate.a(h * s))
        b = torch.tanh(gate.b(a * h))
        c = torch.tanh(gate.c(b + s))
        d = torch.sigmoid(gate.d(c))
        constant = gate.k(torch.ones_like(h))
        return h.lerp(c * torch.tanh(gate.e()), d) + 0.1 * torch.sin(constant), s * a + b * (1 - a)


class Linear(GatedCell):
    """Returns its gate's value as it is."""

    gates: ClassVar = {"h": Gate()}

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return gate.h(h)


class Shift(GatedCell):
    """A delay line: one state is passed on untouched, and a gate that nothing depends on."""

    gates: ClassVar = {"h": Gate(), "unused": Gate()}
    states = 2

    def step(self, h: Tensor, previous: Tensor, gate: Any) -> tuple[Tensor, Tensor]:
        gate.unused(h)
        return torch.tanh(gate.h(previous)), h


OURS = [*map(cell_by_name, ("brc", "gru", "mgu", "nbrc", "rnn")), UserLSTM, Nested, Linear, Shift]
REGISTERED = [cell for cell in map(cell_by_name, cell_names()) if issubclass(cell, GatedCell)]
FORKED = [cell for cell in REGISTERED if cell not in OURS]


def runs_on_the_engine(cell_class: type[GatedCell]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output, _ = cell_class(I, H)(torch.zeros(2, B, I))
    return "Scan" in type(output.grad_fn).__name__


CELLS = OURS + [cell for cell in FORKED if runs_on_the_engine(cell)]
every_cell = pytest.mark.parametrize("cell_class", CELLS, ids=lambda cell: cell.__name__)


def make(cell_class: type[GatedCell], **kwargs: Any) -> GatedCell:
    """A cell in double precision with weights that differ from their neat initial values."""
    torch.manual_seed(0)
    cell = cell_class(I, H, dtype=torch.float64, **kwargs)
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.4)
    return cell


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values_and_gradients(
    run: Any, cell: GatedCell, x: Tensor, states: list[Tensor], constant: bool = False
) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in (x[:1] if constant else x, *states)]
    inputs = leaves[0].expand_as(x)
    outputs = run(cell.step, cell.gates, inputs, leaves[1:], stacked_weights(cell))
    loss = sum((noise(*output.shape, seed=i) * output).sum() for i, output in enumerate(outputs))
    wanted = [*leaves, *cell.parameters()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [
        *outputs,
        *(torch.zeros_like(w) if g is None else g for w, g in zip(wanted, gradients, strict=True)),
    ]


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-12) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(
            a, b, rtol=tolerance, atol=tolerance * max(1.0, float(b.detach().abs().max()))
        )


@every_cell
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("T", [1, 2, 24, 25, 26, 60])
def test_scan_equals_loop(cell_class: type[GatedCell], T: int, constant: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(engine, "STEPS", 25)
    cell, x = make(cell_class), noise(T, B, I)
    states = [noise(B, H, seed=seed) for seed in range(cell.states)]
    found = values_and_gradients(scan, cell, x, states, constant)
    assert_close(found, values_and_gradients(loop, cell, x, states, constant))


@every_cell
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_chunks_do_not_matter(cell_class: type[GatedCell], steps: int, monkeypatch: Any) -> None:
    cell, x, states = make(cell_class), noise(30, B, I), [noise(B, H)] * cell_class.states
    expected = values_and_gradients(scan, cell, x, states)
    monkeypatch.setattr(engine, "STEPS", steps)
    assert_close(values_and_gradients(scan, cell, x, states), expected)
    monkeypatch.setattr(engine, "ENTRIES", 3 * B * H)
    assert_close(values_and_gradients(scan, cell, x, states), expected)


@every_cell
@pytest.mark.parametrize("constant", [False, True])
def test_without_gradients(cell_class: type[GatedCell], constant: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(engine, "STEPS", 4)
    cell, states = make(cell_class), [noise(B, H)] * cell_class.states
    x = noise(1, B, I).expand(11, B, I) if constant else noise(11, B, I)
    with torch.no_grad():
        found = scan(cell.step, cell.gates, x, states, stacked_weights(cell))
    assert_close(list(found), list(loop(cell.step, cell.gates, x, states, stacked_weights(cell))))


@every_cell
def test_gradients_are_those_of_finite_differences(cell_class: type[GatedCell], monkeypatch: Any) -> None:
    monkeypatch.setattr(engine, "STEPS", 2)
    cell = make(cell_class)
    names = [name for name, _ in cell.named_parameters()]

    def run(x: Tensor, *rest: Tensor) -> Any:
        states, weights = rest[: cell.states], rest[cell.states :]
        h_0 = states[0] if cell.states == 1 else states
        output, h_n = torch.func.functional_call(cell, dict(zip(names, weights, strict=True)), (x, h_0))
        return output, *(h_n if isinstance(h_n, tuple) else (h_n,))

    states = [noise(1, B, H, seed=seed).requires_grad_() for seed in range(cell.states)]
    inputs = (
        noise(3, B, I).requires_grad_(),
        *states,
        *(p.detach().requires_grad_() for p in cell.parameters()),
    )
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@every_cell
def test_second_derivatives_where_inputs_depend_on_each_other(cell_class: type[GatedCell]) -> None:
    cell, x = make(cell_class), noise(7, B, I)
    weights = list(cell.parameters())
    found = []
    for run in (scan, loop):
        states = [noise(B, H, seed=seed) for seed in range(cell.states)]
        for part in x.split(4):  # the second part starts from the states of the first
            _, *states = run(cell.step, cell.gates, part, states, stacked_weights(cell))
        loss = sum(state.square().sum() for state in states)
        first = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
        penalty = sum(gradient.square().sum() for gradient in first)
        second = torch.autograd.grad(penalty, weights, materialize_grads=True)
        found.append([*first, *second])
    assert_close(*found)


def test_pruned_weights_run_on_the_engine() -> None:
    cell = make(GRU)
    prune.random_unstructured(cell, "weight_hh_l0", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output, _ = cell(noise(6, B, I))
    assert "Scan" in type(output.grad_fn).__name__


@pytest.mark.parametrize("wanted", ["x", "h", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
def test_only_what_is_wanted(wanted: str) -> None:
    cell = make(GRU)
    tensors = {"x": noise(6, B, I), "h": noise(1, B, H), **dict(cell.named_parameters())}
    gradients = []
    for chosen in (list(tensors), [wanted]):
        for name, tensor in tensors.items():
            tensor.grad = None
            tensor.requires_grad_(name in chosen)
        cell(tensors["x"], tensors["h"])[0].square().sum().backward()
        gradients.append(tensors[wanted].grad)
        assert [name for name, tensor in tensors.items() if tensor.grad is not None] == chosen
    assert_close([gradients[1]], [gradients[0]])


@pytest.mark.parametrize("part", [0, 1])
def test_gradient_of_output_or_final_state_alone(part: int) -> None:
    cell, x = make(UserLSTM), noise(60, B, I)
    h_0 = (noise(1, B, H), noise(1, B, H))
    gradients = []
    for run in (scan, loop):
        results = run(cell.step, cell.gates, x, [h[0] for h in h_0], stacked_weights(cell))
        loss = (results[0] if part == 0 else results[2]).square().sum()
        gradients.append(list(torch.autograd.grad(loss, list(cell.parameters()))))
    assert_close(*gradients)


@every_cell
def test_torch_func(cell_class: type[GatedCell]) -> None:
    cell, x, h_0 = (
        make(cell_class),
        noise(1, I),
        [noise(1, H, seed=seed) for seed in range(cell_class.states)],
    )

    def next_state(h: Tensor) -> Tensor:
        _, state = cell(x, h if cell.states == 1 else (h, *h_0[1:]))
        return state if cell.states == 1 else state[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jacobian = torch.func.jacrev(next_state)(h_0[0])
    assert_close([jacobian], [torch.autograd.functional.jacobian(next_state, h_0[0])])
    batch = torch.stack([h_0[0], 2 * h_0[0]])
    for gradient in (True, False):
        with torch.set_grad_enabled(gradient):
            assert_close([torch.vmap(next_state)(batch)[1]], [next_state(batch[1])])


def test_autocast_keeps_the_precision_of_the_weights() -> None:
    cell, x = GRU(I, H), noise(1, B, I).float().expand(4, B, I)
    weights = list(cell.parameters())
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", enabled=enabled):
            output, _ = cell(x)
            gradients = torch.autograd.grad(output.square().sum(), weights, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in gradients), weights)
        results.append((output, *gradients, *second))
    torch.testing.assert_close(*results)
    with torch.autocast("cpu"):
        assert cell(x.bfloat16())[0].dtype == torch.float32


def denormals(tensor: Tensor) -> int:
    return int(((tensor != 0) & (tensor.abs() < torch.finfo(tensor.dtype).tiny)).sum())


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_vanishing_gradients_are_cut_before_they_are_denormal(name: str) -> None:
    torch.manual_seed(0)
    reference = {"gru": nn.GRU, "lstm": nn.LSTM}[name](I, 16)
    cell = cell_by_name(name)(I, 16)
    cell.load_state_dict(reference.state_dict())
    gradients = {}
    for module in (reference, cell):
        x = torch.randn(400, 4, I, generator=torch.Generator().manual_seed(0)).requires_grad_()
        module(x)[0][-1].square().sum().backward()
        assert x.grad is not None
        gradients[module] = x.grad
    assert denormals(gradients[reference]) > 100
    assert denormals(gradients[cell]) == 0
    assert (gradients[cell][:100] == 0).all()
    torch.testing.assert_close(gradients[cell], gradients[reference], rtol=1e-4, atol=1e-12)


def test_cut_sets_small_gradients_to_zero() -> None:
    gradient = torch.tensor([1e-21, -1e-21, 1e-19, -1.0])
    for dtype, kept in ((torch.float32, [0, 0, 1, 1]), (torch.float64, [1, 1, 1, 1])):
        state = torch.zeros(4, dtype=dtype, requires_grad=True)
        cut(state).backward(gradient.to(dtype))
        torch.testing.assert_close(state.grad, gradient.to(dtype) * torch.tensor(kept), rtol=0, atol=0)


@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize("layer", [nn.GRU, nn.LSTM])
def test_chunked_equals_the_whole_sequence(layer: type[nn.RNNBase], time: int) -> None:
    torch.manual_seed(0)
    rnn = layer(I, H, num_layers=2, batch_first=time == 1, dtype=torch.float64)
    x = noise(60, B, I).transpose(0, time)
    results = []
    for run in (rnn, lambda x: chunked(rnn, x, time=time)):
        output, state = run(x)
        states = state if isinstance(state, tuple) else (state,)
        loss = (output * noise(*output.shape)).sum() + sum(s.square().sum() for s in states)
        results.append((output, *states, *torch.autograd.grad(loss, list(rnn.parameters()))))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


class WithNorm(GatedCell):
    """Units meet outside the gates."""

    gates: ClassVar = {"h": Gate()}

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(F.layer_norm(gate.h(h), (H,)))


class WithMean(WithNorm):
    """Units meet in a mean."""

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h) + h.mean(-1, keepdim=True))


class WithBatchMean(WithNorm):
    """Sequences meet."""

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h) + h.mean(0, keepdim=True))


class WithRoll(WithNorm):
    """Units change places."""

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h) + h.roll(1, -1))


class WithReshape(WithNorm):
    """Assumes two axes."""

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h)).view(B, H)


class WithWeight(WithNorm):
    """A weight outside the gates."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h)) + self.scale * h


class TwoCalls(WithNorm):
    """Calls its gate twice."""

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return torch.tanh(gate.h(h)) + 0.1 * gate.h(torch.sin(h))


class InPlace(WithNorm):
    """Overwrites the value of its gate."""

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return gate.h(h).sigmoid_()


@pytest.mark.parametrize(
    "cell_class",
    [WithNorm, WithMean, WithBatchMean, WithRoll, WithReshape, WithWeight, TwoCalls, InPlace],
    ids=lambda cell: cell.__name__,
)
def test_other_steps_run_in_the_loop(cell_class: type[GatedCell]) -> None:
    cell, x = make(cell_class), noise(4, B, I).requires_grad_()
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match=f"{cell_class.__name__}.step is not elementwise"):
        cell(x)
    assert torch.equal(torch.get_rng_state(), state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.autograd.gradcheck(lambda x, *_: cell(x)[0], (x, *cell.parameters()), fast_mode=True)


def test_dropout_runs_in_the_loop_in_training_only() -> None:
    class WithDropout(WithNorm):
        def step(self, h: Tensor, gate: Any) -> Tensor:
            return F.dropout(torch.tanh(gate.h(h)), 0.5, self.training)

    cell, x = make(WithDropout), noise(4, B, I)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cell.eval()(x)
    with pytest.warns(UserWarning, match="random"):
        cell.train()(x)
    torch.manual_seed(0)
    output, _ = cell(x)
    zeros = output == 0
    assert zeros.any()
    gradient = torch.autograd.grad(output[zeros].sum(), list(cell.parameters()))
    assert all((part == 0).all() for part in gradient)


@pytest.mark.parametrize("cell_class", OURS, ids=lambda cell: cell.__name__)
def test_our_steps_run_on_the_engine(cell_class: type[GatedCell], monkeypatch: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.inference_mode():  # the first call may be a validation
            make(cell_class)(noise(4, B, I))
        cell = make(cell_class)
        output, _ = cell(noise(4, B, I))
    assert "Scan" in type(output.grad_fn).__name__


def test_the_backward_pass_frees_its_memory_at_once() -> None:
    cell = make(GRU)
    gc.collect()
    gc.disable()
    try:
        cell(noise(60, B, I))[0].sum().backward()
        assert not [thing for thing in gc.get_objects() if type(thing) is adjoint._Chunk]
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights(dtype: torch.dtype) -> None:
    cell = GRU(I, H, dtype=dtype)
    expected, _ = copy.deepcopy(cell).float()(noise(4, B, I).to(dtype).float())
    output, _ = cell(noise(4, B, I).to(dtype))
    output.float().square().sum().backward()
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)
    assert cell.weight_hh_l0.grad.dtype == dtype


def test_copies_and_files() -> None:
    cell, x = make(GRU), noise(4, B, I)
    expected, _ = cell(x)
    file = io.BytesIO()
    torch.save(cell.state_dict(), file)
    file.seek(0)
    loaded = GRU(I, H, dtype=torch.float64)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), loaded):
        torch.testing.assert_close(other(x)[0], expected, rtol=0, atol=0)


def test_gate_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="recurrent='sparse': choose 'dense', 'diagonal' or None"):
        Gate("sparse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="recurrent=None must see the input"):
        Gate(None, input=False)


def test_every_weight_has_a_gradient() -> None:
    for cell in (make(Shift), LSTM(I, H, dtype=torch.float64)):
        cell(noise(3, B, I))[0].sum().backward()
        assert all(parameter.grad is not None for parameter in cell.parameters())


class OtherName(GatedCell):
    gates = {"f": Gate(), "c": Gate()}

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return gate.candidate(h) * gate.f(h)


class OtherShape(GatedCell):
    gates = {"f": Gate()}

    def step(self, h: Tensor, gate: Any) -> Tensor:
        return gate.f(h)[:, :2]


class OtherNumber(GatedCell):
    gates = {"f": Gate()}

    def step(self, h: Tensor, gate: Any) -> tuple[Tensor, Tensor]:
        return gate.f(h), h


@pytest.mark.parametrize(
    ("cell_class", "error", "message"),
    [
        (OtherName, AttributeError, "^there is no gate 'candidate', only f, c$"),
        (
            OtherShape,
            ValueError,
            r"^step: must return states of shape \(3, 4\), not states of shape \(3, 2\)$",
        ),
        (
            OtherNumber,
            ValueError,
            r"^step: must return states of shape \(3, 4\), not states of shape \(3, 4\), \(3, 4\)$",
        ),
    ],
)
def test_a_mistake_in_a_step_is_one_line(
    cell_class: type[GatedCell], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cell_class(1, 4)(torch.randn(5, 3, 1))
