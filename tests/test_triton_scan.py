"""Triton's kernels against the engine, in Triton's interpreter; and that they compile for CUDA."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_warmup.cell import GatedCell
from lightning_warmup.cells import BRC, GRU, MGU, NBRC

pytest.importorskip("triton", minversion="3.7")  # the interpreter of older ones fails with NumPy 2.4
with (
    pytest.MonkeyPatch.context() as environment
):  # kernels are interpreted if it is set where they are defined
    environment.setenv("TRITON_INTERPRET", "1")
    from lightning_warmup import triton_scan
    from lightning_warmup.triton_scan import use_triton

every_cell = pytest.mark.parametrize("cell_class", [BRC, NBRC, MGU], ids=lambda cell: cell.__name__)
I = 3  # noqa: E741


def make(cell_class: type[GatedCell], H: int, dtype: torch.dtype = torch.float64, **kwargs: Any) -> GatedCell:
    torch.manual_seed(0)
    cell = cell_class(I, H, dtype=dtype, **kwargs)
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.6)
    return cell


def noise(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def values_and_gradients(cell: GatedCell, x: Tensor, h_0: Tensor, T: int) -> list[Tensor]:
    """Those of a loss of all outputs and the final state; x may have a single step, repeated T times."""
    leaves = [x.clone().requires_grad_(), h_0.clone().requires_grad_()]
    output, h_n = cell(leaves[0].expand(T, -1, -1), leaves[1])
    loss = (output * noise(*output.shape, dtype=x.dtype)).sum() + h_n.square().sum()
    return [output, h_n, *torch.autograd.grad(loss, [*leaves, *cell.parameters()])]


def assert_as_the_engine(cell: GatedCell, x: Tensor, h_0: Tensor, T: int, tolerance: float) -> None:
    expected = values_and_gradients(cell, x, h_0, T)
    use_triton(cell)
    found = values_and_gradients(cell, x, h_0, T)
    assert type(found[0].grad_fn).__name__ in ("_DiagonalBackward", "_DenseBackward")
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(
            a, b, rtol=tolerance, atol=tolerance * max(1.0, float(b.detach().abs().max()))
        )


@every_cell
@pytest.mark.parametrize(("T", "B", "H"), [(1, 1, 1), (2, 1, 16), (7, 3, 5), (4, 3, 50)])
def test_values_and_gradients(cell_class: type[GatedCell], T: int, B: int, H: int) -> None:
    assert_as_the_engine(make(cell_class, H), noise(T, B, I), noise(1, B, H), T, 1e-12)


@every_cell
def test_single_precision(cell_class: type[GatedCell]) -> None:
    single = torch.float32
    x, h_0 = noise(20, 3, I, dtype=single), noise(1, 3, 5, dtype=single)
    assert_as_the_engine(make(cell_class, 5, single), x, h_0, 20, 1e-5)


@every_cell
def test_constant_input(cell_class: type[GatedCell]) -> None:
    assert_as_the_engine(make(cell_class, 5), noise(1, 3, I), noise(1, 3, 5), 6, 1e-12)


@every_cell
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # the interpreter's; 1 / (1 + inf) is meant
def test_saturated_gates(cell_class: type[GatedCell]) -> None:
    assert_as_the_engine(make(cell_class, 5), 1e4 * noise(3, 2, I), 1e4 * noise(1, 2, 5), 3, 1e-12)


@every_cell
def test_without_gradients_and_with_the_batch_first(cell_class: type[GatedCell]) -> None:
    cell, x = make(cell_class, 5, batch_first=True), noise(2, 6, I)
    with torch.inference_mode():
        expected, _ = cell(x)
        use_triton(cell)
        torch.testing.assert_close(cell(x)[0], expected, rtol=1e-12, atol=1e-12)


def test_gradient_of_the_final_state_alone() -> None:
    cell = make(NBRC, 5)
    gradients = []
    for enabled in (False, True):
        use_triton(cell, enabled)
        gradients.append(torch.autograd.grad(cell(noise(6, 2, I))[1].sum(), list(cell.parameters())))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_only_where_it_is_asked_for() -> None:
    network = nn.ModuleList([make(BRC, 5), make(GRU, 5)])
    brc, gru = network
    assert type(brc(noise(2, 1, I))[0].grad_fn).__name__ == "_ScanBackward"
    use_triton(network)
    for cell, name in (
        (brc, "_DiagonalBackward"),
        (copy.deepcopy(brc), "_DiagonalBackward"),
        (gru, "_ScanBackward"),
    ):
        assert type(cell(noise(2, 1, I))[0].grad_fn).__name__ == name
    use_triton(network, False)
    assert type(brc(noise(2, 1, I))[0].grad_fn).__name__ == "_ScanBackward"


def test_what_is_not_offered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(BRC):
        pass

    for network in (make(GRU, 5), make(Other, 5)):
        with pytest.raises(ValueError, match=f"{type(network).__name__} has no BRC, NBRC or MGU"):
            use_triton(network)
    cell, dense = make(BRC, 5), make(MGU, 5)
    use_triton(nn.ModuleList([cell, dense]))
    for other in (cell, dense):
        with pytest.raises(RuntimeError, match="first derivatives only"):
            torch.autograd.grad(other(noise(2, 1, I))[0].sum(), other.weight_ih_l0, create_graph=True)
    with pytest.raises(ValueError, match=r"torch.bfloat16: Triton's kernels take float32 and float64"):
        cell.bfloat16()(noise(2, 1, I, dtype=torch.bfloat16))
    monkeypatch.setattr(triton_scan, "INTERPRETED", False)
    with pytest.raises(RuntimeError, match="input is on cpu: Triton's kernels need CUDA"):
        cell.double()(noise(2, 1, I))


def test_wrong_results_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {**triton_scan.STAGES, MGU.step: triton_scan.STAGES[MGU.step][::-1]}
    monkeypatch.setattr(triton_scan, "STAGES", stages)
    triton_scan._check.cache_clear()
    cell = make(MGU, 5)
    use_triton(cell)
    with pytest.raises(RuntimeError, match="MGU by Triton and on the engine differ on cpu"):
        cell(noise(2, 1, I))


COMPILE = """
from itertools import product
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lightning_warmup import triton_scan as t

assert not t.INTERPRETED
kinds = [(t._bistable, 3, True), (t._bistable, 3, False), (t._reset, 2, False), (t._update, 2, False)]
for kernel, (stage, gates, diagonal) in product((t._forward, t._backward), kinds):
    constants = {"STAGE": stage, "G": gates, "ADD": stage is t._reset}
    constants |= {} if diagonal else {"weight": None, "products": None, "T": 1}
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    types = {name: "i32" if name in ("T", "N", "H", "time") else "*fp32" for name in kernel.arg_names}
    source = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constants)
    print(len(triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]))
"""


def test_the_kernels_compile_for_cuda(tmp_path: Path) -> None:
    variables = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    process = subprocess.run([sys.executable, "-c", COMPILE], env=variables, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert len([int(size) for size in process.stdout.split() if int(size) > 1000]) == 8
