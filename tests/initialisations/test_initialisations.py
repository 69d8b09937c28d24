"""Initialisations: what each of them promises."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from lightning_warmup.cells import GRU, LSTM, cell_by_name, cell_names
from lightning_warmup.cells._gated import Gate, GatedCell
from lightning_warmup.engine.gates import gate_weights, stacked_weights
from lightning_warmup.initialisations import initialise, names

I, H = 48, 64  # noqa: E741
RECURRENT = ["gru", "lstm", "mgu", "nbrc", "rnn"]
WITH_GATES = [name for name in cell_names() if hasattr(cell_by_name(name), "gates")]


def make(name: str, init: str, t_max: int = 600, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    cell = cell_by_name(name)(I, H, **kwargs)
    for parameter in cell.parameters():
        nn.init.constant_(parameter, 7.0)
    torch.manual_seed(1)
    initialise(cell, init, t_max)
    assert not any((weight == 7).any() for weight in stacked_weights(cell) if weight is not None)
    return cell


def is_xavier(matrix: Tensor) -> bool:
    """Whether a matrix fills U(-a, a) with a = sqrt(6 / (rows + columns)), and no more than that."""
    scaled = matrix.detach() / math.sqrt(6 / sum(matrix.shape))
    return bool(0.99 < scaled.abs().max() <= 1 + 1e-6) and abs(float(scaled.std()) * math.sqrt(3) - 1) < 0.05


def is_orthogonal(matrix: Tensor) -> bool:
    return torch.allclose(matrix @ matrix.t(), torch.eye(H), atol=1e-5)


@pytest.mark.parametrize("name", ["brc", "gru", "mgu", "nbrc"])
def test_default(name: str) -> None:
    for gate in gate_weights(make(name, "default")).values():
        assert gate.weight_ih is None or is_xavier(gate.weight_ih)
        if gate.weight_hh is not None:
            assert is_orthogonal(gate.weight_hh) if name == "gru" else is_xavier(gate.weight_hh)
        assert gate.weight_diag is None or (gate.weight_diag == 1).all()
        assert all(bias is None or (bias == 0).all() for bias in (gate.bias_ih, gate.bias_hh))


@pytest.mark.parametrize(
    ("name", "init"), [("rnn", "default"), ("lstm", "default"), *[(n, "torch") for n in WITH_GATES]]
)
def test_torch(name: str, init: str) -> None:
    bound = 1 / math.sqrt(H)
    for parameter in make(name, init).parameters():
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.9 * bound


def test_default_is_torch_where_the_cell_is_torchs() -> None:
    torch.manual_seed(1)
    expected = nn.LSTM(I, H).state_dict()
    torch.testing.assert_close(make("lstm", "default").state_dict(), expected, rtol=0, atol=0)


KEEPING = [name for name in cell_names() if getattr(cell_by_name(name), "remember", None)]


@pytest.mark.parametrize("name", KEEPING)
def test_chrono(name: str) -> None:
    cell = make(name, "chrono", t_max=600)
    assert getattr(cell, "bias_hh_l0", None) is None or (cell.bias_hh_l0 == 0).all()
    keep, replace = cell.remember, cell.overwrite
    gates = gate_weights(cell)
    scales = gates[keep].bias_ih.exp()
    assert scales.min() >= 1
    assert scales.max() <= 599.1
    assert abs(float(scales.detach().mean()) - 300) < 4 * 173 / math.sqrt(H)
    for gate, weights in gates.items():
        if gate == replace:
            torch.testing.assert_close(weights.bias_ih, -gates[keep].bias_ih)
        elif gate != keep:
            assert weights.bias_ih is None or (weights.bias_ih == 0).all()


def test_chrono_has_its_time_scale() -> None:
    """Without input and weights, a unit of bias log(U) forgets by 1 / (1 + U) a step."""
    cell = make("lstm", "chrono", t_max=100)
    scales = gate_weights(cell)["f"].bias_ih.exp()
    with torch.no_grad():
        cell.weight_ih_l0.zero_()
        cell.weight_hh_l0.zero_()
        _, (_, c) = cell(torch.zeros(1, 1, I), (torch.zeros(1, 1, H), torch.ones(1, 1, H)))
    torch.testing.assert_close(c.flatten(), scales / (1 + scales))


@pytest.mark.parametrize("name", RECURRENT)
def test_orthogonal(name: str) -> None:
    matrices = [
        w.weight_hh for w in gate_weights(make(name, "orthogonal")).values() if w.weight_hh is not None
    ]
    assert all(map(is_orthogonal, matrices))
    assert not any(torch.equal(matrices[0], other) for other in matrices[1:])


@pytest.mark.parametrize("name", RECURRENT)
def test_identity(name: str) -> None:
    for weights in gate_weights(make(name, "identity")).values():
        assert weights.weight_hh is None or torch.equal(weights.weight_hh, torch.eye(H))


def test_identity_makes_an_nbrc_a_brc() -> None:
    nbrc, brc = make("nbrc", "identity"), make("brc", "default")
    brc.load_state_dict({"weight_ih_l0": nbrc.weight_ih_l0, "bias_ih_l0": nbrc.bias_ih_l0}, strict=False)
    x = torch.randn(5, 2, I)
    torch.testing.assert_close(nbrc(x), brc(x))


@pytest.mark.parametrize(
    ("name", "gate", "value"), [("lstm", "f", 1), ("gru", "z", 1), ("brc", "c", 1), ("mgu", "f", -1)]
)
def test_forget_bias(name: str, gate: str, value: float) -> None:
    weights = gate_weights(make(name, "forget_bias"))
    default = gate_weights(make(name, "default"))
    assert (weights[gate].bias_ih == value).all()
    assert weights[gate].bias_hh is None or (weights[gate].bias_hh == 0).all()
    others = [key for key in weights if key != gate]
    assert all(
        torch.equal(weights[key].weight_ih, default[key].weight_ih)
        for key in others
        if weights[key].weight_ih is not None
    )


REFUSED = {
    (
        "gru",
        "xavier",
    ): "init='xavier': choose one of chrono, default, forget_bias, identity, orthogonal, torch",
    ("mgu", "chrono"): "init='chrono': MGU has no gate that keeps its state",
    ("brc", "orthogonal"): "init='orthogonal': BRC has no recurrent matrix",
    ("brc", "identity"): "init='identity': BRC has no recurrent matrix",
    ("rnn", "forget_bias"): "init='forget_bias': RNN has no gate that keeps its state",
}


@pytest.mark.parametrize(("name", "init"), REFUSED)
def test_refusals(name: str, init: str) -> None:
    cell = cell_by_name(name)(I, H)
    before = {key: value.clone() for key, value in cell.state_dict().items()}
    with pytest.raises(ValueError, match=REFUSED[name, init]) as raised:
        initialise(cell, init)
    assert "\n" not in str(raised.value)
    torch.testing.assert_close(cell.state_dict(), before, rtol=0, atol=0)


def test_refuses_what_chrono_and_forget_bias_need() -> None:
    with pytest.raises(ValueError, match="t_max=2: must be greater than 2 for chrono"):
        initialise(LSTM(I, H), "chrono", t_max=2)
    for init in ("chrono", "forget_bias"):
        with pytest.raises(ValueError, match="bias=True"):
            initialise(GRU(I, H, bias=False), init)


def test_a_strangers_module_stays_as_constructed() -> None:
    module = nn.Linear(2, 2)
    before = module.weight.clone()
    initialise(module, "default")
    assert torch.equal(module.weight, before)
    with pytest.raises(ValueError, match="must be 'default', since Linear has no named gates"):
        initialise(module, "orthogonal")


class Stranger(GatedCell):
    """A fork's cell."""

    gates: ClassVar = {"keep": Gate(), "v": Gate("diagonal")}
    remember = "keep"


@pytest.mark.parametrize("init", names())
def test_a_forks_cell(init: str) -> None:
    cell = Stranger(I, H)
    initialise(cell, init)
    keep = gate_weights(cell)["keep"]
    assert bool((keep.bias_ih.exp() > 100).any()) == (init == "chrono")
    assert torch.equal(keep.weight_hh, torch.eye(H)) == (init == "identity")
    assert is_orthogonal(keep.weight_hh) == (init in ("identity", "orthogonal"))
    assert bool((keep.bias_ih == 1).all()) == (init == "forget_bias")


class Both(Stranger):
    """A fork's cell with a gate that overwrites the state, two biases, and its remembering gate without input."""

    gates: ClassVar = {"keep": Gate(input=False), "new": Gate(), "v": Gate("diagonal")}
    overwrite = "new"
    biases = 2


def test_a_gate_that_overwrites_gets_the_negative_chrono_bias() -> None:
    cell = Both(I, H)
    initialise(cell, "chrono")
    weights = gate_weights(cell)
    assert weights["keep"].bias_hh.std() > 0.1
    torch.testing.assert_close(weights["new"].bias_ih, -weights["keep"].bias_hh)
    for bias in (weights["new"].bias_hh, weights["v"].bias_ih):
        assert (bias == 0).all()


def test_seeded() -> None:
    for init in ("default", "torch", "chrono", "orthogonal"):
        torch.testing.assert_close(
            make("gru", init).state_dict(), make("gru", init).state_dict(), rtol=0, atol=0
        )
