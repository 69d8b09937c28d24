"""Cells against torch's, against their equations, and in all of torch's call conventions."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_warmup import SideMemory, cells, warmup
from lightning_warmup.cells import BRC, GRU, LSTM, MGU, NBRC, RNN, cell_by_name, cell_names
from lightning_warmup.cells._gated import Gate, GatedCell
from lightning_warmup.engine.gates import gate_weights

I, H, B, T = 3, 5, 2, 7  # noqa: E741
OURS = ["brc", "gru", "lstm", "mgu", "nbrc", "rnn"]
every_name = pytest.mark.parametrize("name", cell_names())


def make(name: str, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    cell = cell_by_name(name)(I, H, dtype=torch.float64, **kwargs)
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def each(state: Tensor | tuple[Tensor, ...], function: Callable[[Tensor], Tensor]) -> Any:
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


@every_name
def test_call_conventions(name: str) -> None:
    cell, x = make(name), noise(T, B, I)
    output, h_n = cell(x)
    assert output.shape == (T, B, H)
    first = h_n[0] if isinstance(h_n, tuple) else h_n
    torch.testing.assert_close(first, output[-1:])

    zero = each(h_n, torch.zeros_like)
    torch.testing.assert_close(cell(x, zero), (output, h_n))

    middle, state = cell(x[:3])
    rest, last = cell(x[3:], state)
    torch.testing.assert_close((torch.cat([middle, rest]), last), (output, h_n))

    alone, state = cell(x[:, 1])
    torch.testing.assert_close((alone, state), (output[:, 1], each(h_n, lambda h: h[:, 1])))
    torch.testing.assert_close(cell(x[3:, 1], each(cell(x[:3, 1])[1], lambda h: h))[1], state)

    batch_first = make(name, batch_first=True)
    found, state = batch_first(x.transpose(0, 1))
    torch.testing.assert_close((found.transpose(0, 1), state), (output, h_n))
    torch.testing.assert_close(batch_first(x[:, 1]), (alone, each(h_n, lambda h: h[:, 1])))


@every_name
def test_constant_input(name: str) -> None:
    cell, u = make(name), noise(B, I)
    expected = cell(u.repeat(T, 1, 1))
    torch.testing.assert_close(cell(u.expand(T, B, I)), expected)
    batch_first = make(name, batch_first=True)
    torch.testing.assert_close(batch_first(u[:, None].expand(B, T, I))[1], expected[1])


@every_name
def test_without_bias(name: str) -> None:
    cell = make(name, bias=False)
    assert not {"bias_ih_l0", "bias_hh_l0"} & set(cell.state_dict())
    if name in OURS:
        output, _ = cell(torch.zeros(T, B, I, dtype=torch.float64))
        assert (output == 0).all()


@every_name
@pytest.mark.parametrize("length", [1, 24, 25, 26, 60])
def test_gradient_of_one_sequence(name: str, length: int) -> None:
    """The gradient of a whole sequence is that of two runs, one going on from the state of the other."""
    cell, x = make(name), noise(length, B, I)
    cut = length // 2
    gradients = []
    for run in (lambda: cell(x), lambda: cell(x[cut:], cell(x[:cut])[1] if cut else None)):
        output, _ = run()
        loss = (output[-1] * noise(B, H, seed=2)).sum()
        gradients.append(torch.autograd.grad(loss, list(cell.parameters())))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(RNN, nn.RNN), (GRU, nn.GRU), (LSTM, nn.LSTM)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("length", [T, 60])
def test_equals_torch(ours: type[nn.Module], theirs: type[nn.Module], bias: bool, length: int) -> None:
    torch.manual_seed(0)
    reference = theirs(I, H, bias=bias, dtype=torch.float64)
    cell = ours(I, H, bias=bias, dtype=torch.float64)
    cell.load_state_dict(reference.state_dict())
    results = []
    for module in (cell, reference):
        x = noise(length, B, I).requires_grad_()
        h_0 = noise(1, B, H).requires_grad_()
        output, h_n = module(x, (h_0, h_0) if ours is LSTM else h_0)
        loss = (noise(length, B, H, seed=2) * output).sum() + sum(h.sum() for h in h_n)
        results.append((output, h_n, *torch.autograd.grad(loss, [x, h_0, *module.parameters()])))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_gru_of_torch_takes_our_weights_as_they_are() -> None:
    """The fused kernel, which runs without a gradient and on CUDA devices, against the engine."""
    cell, x, h_0 = make("gru"), noise(T, B, I), noise(1, B, H)
    with torch.no_grad():
        fused = cell(x, h_0)
    torch.testing.assert_close(fused, cell(x, h_0))


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def equation_mgu(w: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    f = sigmoid(w["W_f"] @ x + w["U_f"] @ h + w["b_f"])
    candidate = torch.tanh(w["W_h"] @ x + w["U_h"] @ (f * h) + w["b_h"])
    return (1 - f) * h + f * candidate


def equation_brc(w: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    c = sigmoid(w["W_c"] @ x + w["u_c"] * h + w["b_c"])
    a = 1 + torch.tanh(w["W_a"] @ x + w["u_a"] * h + w["b_a"])
    return c * h + (1 - c) * torch.tanh(w["W_h"] @ x + a * h + w["b_h"])


def equation_nbrc(w: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    c = sigmoid(w["W_c"] @ x + w["U_c"] @ h + w["b_c"])
    a = 1 + torch.tanh(w["W_a"] @ x + w["U_a"] @ h + w["b_a"])
    return c * h + (1 - c) * torch.tanh(w["W_h"] @ x + a * h + w["b_h"])


@pytest.mark.parametrize(
    ("cell_class", "gates", "recurrent", "diagonal", "equation"),
    [
        (MGU, "fh", "fh", "", equation_mgu),
        (BRC, "cah", "", "ca", equation_brc),
        (NBRC, "cah", "ca", "", equation_nbrc),
    ],
)
def test_equations(
    cell_class: type[GatedCell], gates: str, recurrent: str, diagonal: str, equation: Callable[..., Tensor]
) -> None:
    cell, x, h = make(cell_class.__name__.lower()), noise(T, I), noise(H)
    rows = [slice(i * H, (i + 1) * H) for i in range(3)]
    w = {f"W_{g}": cell.weight_ih_l0[row] for g, row in zip(gates, rows, strict=False)}
    w |= {f"b_{g}": cell.bias_ih_l0[row] for g, row in zip(gates, rows, strict=False)}
    w |= {f"U_{g}": cell.weight_hh_l0[row] for g, row in zip(recurrent, rows, strict=False)}
    w |= {f"u_{g}": cell.weight_diag_l0[row] for g, row in zip(diagonal, rows, strict=False)}
    output, h_n = cell(x, h[None])
    for t in range(T):
        h = equation(w, x[t], h)
        torch.testing.assert_close(output[t], h)
    torch.testing.assert_close(h_n[0], h)


@pytest.mark.parametrize(("feedback", "bistable"), [(0.5, False), (0.95, False), (1.05, True), (1.9, True)])
def test_a_unit_of_brc_is_bistable_where_its_feedback_exceeds_one(feedback: float, bistable: bool) -> None:
    cell = BRC(1, 1, dtype=torch.float64)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        gate_weights(cell)["a"].bias_ih.fill_(torch.atanh(torch.tensor(feedback - 1)))
        starts = torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 1.0], dtype=torch.float64).view(1, 5, 1)
        silence = torch.zeros(1, 1, 1, dtype=torch.float64).expand(3000, 5, 1)
        _, end = cell(silence, starts)
    end = end.flatten()
    if bistable:
        assert end[3] > 0.1
        torch.testing.assert_close(end[3], end[4])
        torch.testing.assert_close(end, -end.flip(0))
    else:
        torch.testing.assert_close(end, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-6)


def test_an_initial_unit_of_brc_is_at_its_bifurcation() -> None:
    cell = BRC(1, 1, dtype=torch.float64)
    h = torch.zeros(1, 1, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(lambda h: cell(torch.zeros(1, 1, dtype=h.dtype), h)[1], h)
    torch.testing.assert_close(slope.flatten(), torch.ones(1, dtype=torch.float64))


REFUSED = {
    "features": (noise(T, B, I + 1), None, r"^input has 4 features: must be 3$"),
    "axes": (noise(I), None, "must have 2 or 3 axes"),
    "no steps": (noise(0, B, I), None, "at least 1 time step"),
    "state": (
        noise(T, B, I),
        noise(1, B, H + 1),
        r"h_0 has shapes \[\(1, 2, 6\)\]: must be 1 of shape \(1, 2, 5\)",
    ),
    "two states": (noise(T, B, I), (noise(1, B, H),) * 2, "must be 1 of shape"),
    "unbatched state": (noise(T, I), noise(1, 1, H), r"must be 1 of shape \(1, 5\)"),
    "precision": (noise(T, B, I).float(), None, "input is torch.float32: must be torch.float64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    x, h_0, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as raised:
        make("mgu")(x, h_0)
    assert "\n" not in str(raised.value)


def test_packed_sequences_are_refused_by_our_cells_and_taken_by_the_lstm() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(noise(T, B, I), torch.tensor([T, 3]))
    with pytest.raises(TypeError, match="PackedSequence"):
        make("gru")(packed)
    _, (h_n, _) = make("lstm")(packed)
    torch.testing.assert_close(h_n[0, 1], make("lstm")(noise(T, B, I))[0][2, 1])


@every_name
def test_names_and_sizes(name: str) -> None:
    cell = cell_by_name(name)(I, H)
    assert (cell.input_size, cell.hidden_size, cell.batch_first) == (I, H, False)
    assert all(parameter.dtype == torch.float32 for parameter in cell.parameters())


def test_unknown_names_and_sizes() -> None:
    with pytest.raises(ValueError, match=f"cell='gruu': choose one of {', '.join(cell_names())}"):
        cell_by_name("gruu")
    with pytest.raises(ValueError, match="hidden_size=0: must be at least 1"):
        GRU(I, 0)


MINIMAL = """
import torch

from lightning_warmup.cells import GRU, Gate, GatedCell


class MinGRU(GatedCell):
    gates = {"z": Gate(None), "h": Gate(None)}
    overwrite = "z"

    def step(self, h, gate):
        return h.lerp(gate.h(), torch.sigmoid(gate.z()))
"""
ANOTHER = "\n\nclass Another(MinGRU):\n    pass\n"
PRIVATE = "\n\nclass _Base(GatedCell):\n    pass\n"
HELPER = "\n\nclass Norm(torch.nn.Module):\n    pass\n"
PLAIN = "import torch\n\n\nclass Thing(torch.nn.GRU):\n    pass\n"


@pytest.fixture
def cell_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Adds a file to a copy of the folder of cells."""
    for file in Path(cells.__file__).parent.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    monkeypatch.setattr(cells, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(cells, "__path__", [str(tmp_path)])
    before = set(sys.modules)
    yield lambda name, text: (tmp_path / f"{name}.py").write_text(text) and None
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("file", ["min_gru", "gru_cell", "a_name_of_its_own"])
@pytest.mark.parametrize(
    "text", [MINIMAL, MINIMAL + PRIVATE, MINIMAL + HELPER, MINIMAL + "\nAlias = MinGRU\n"]
)
def test_a_further_file_is_a_further_cell(
    cell_file: Callable[[str, str], None], file: str, text: str
) -> None:
    cell_file(file, text)
    assert file in cell_names()
    cell = cell_by_name(file)
    assert cell.__name__ == "MinGRU"
    assert cell(I, H)(torch.zeros(T, B, I))[0].shape == (T, B, H)


def test_a_file_may_define_a_module_that_is_not_gated(cell_file: Callable[[str, str], None]) -> None:
    cell_file("thing", PLAIN)
    assert issubclass(cell_by_name("thing"), nn.GRU)


NORMED = """
import torch
from torch import nn

from lightning_warmup.cells import Gate, GatedCell


class Normed(GatedCell):
    gates = {"f": Gate(), "c": Gate()}

    def __init__(self, input_size, hidden_size, *args, device=None, dtype=None, **kwargs):
        super().__init__(input_size, hidden_size, *args, device=device, dtype=dtype, **kwargs)
        self.norm = nn.LayerNorm(hidden_size, device=device, dtype=dtype)

    def step(self, h, gate):
        return self.norm(gate.c(h)).tanh().lerp(h, torch.sigmoid(gate.f(h)))
"""
NOT_GATED = """
import torch


class Rescaled(torch.nn.GRU):
    def __init__(self, input_size, hidden_size, bias=True, batch_first=False, device=None, dtype=None):
        super().__init__(input_size, hidden_size, 1, bias, batch_first, device=device, dtype=dtype)

    def forward(self, input, h_0=None):
        return super().forward(2 * input, h_0)
"""


@pytest.mark.filterwarnings("ignore:Normed.step is not elementwise")
@pytest.mark.parametrize("text", [NORMED, NOT_GATED], ids=["not elementwise", "not gated"])
def test_a_cell_of_any_kind_passes_what_every_cell_is_tested_for(
    cell_file: Callable[[str, str], None], text: str
) -> None:
    cell_file("mine", text)
    for check in (test_call_conventions, test_constant_input, test_without_bias, test_names_and_sizes):
        check("mine")
    test_gradient_of_one_sequence("mine", 60)
    rnn = SideMemory("mine", 1, 8)
    before = copy.deepcopy(rnn.state_dict())
    warmup(rnn, torch.randn(12, 8, 1), steps=2)
    changed = {name for name, weight in rnn.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("memory") for name in changed)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "none"),
        ("from lightning_warmup.cells import GRU\n", "none"),
        (MINIMAL + ANOTHER, "Another, MinGRU"),
    ],
)
def test_a_file_without_one_cell_is_refused(
    cell_file: Callable[[str, str], None], text: str, found: str
) -> None:
    cell_file("wrong", text)
    with pytest.raises(
        ValueError, match=rf"cell='wrong': .*wrong.py must define one public subclass of .*, not {found}$"
    ) as raised:
        cell_by_name("wrong")
    assert "\n" not in str(raised.value)


def test_gates_and_their_cell_are_public() -> None:
    assert cells.GatedCell is GatedCell
    assert issubclass(MGU, cells.GatedCell)
    assert isinstance(MGU.gates["f"], cells.Gate)


def test_a_gate_that_is_none_cannot_remember() -> None:
    class Forgetful(GatedCell):
        gates = {"f": Gate(), "c": Gate()}
        remember = "z"

    with pytest.raises(ValueError, match=r"Forgetful.remember='z': choose one of f, c"):
        Forgetful(1, 2)
