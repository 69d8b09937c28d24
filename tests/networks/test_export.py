from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Command

from lightning_warmup.cells import cell_names
from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.networks.checkpoint import network_of
from lightning_warmup.networks.export import Step, export_step


def made(cell: str, double: bool) -> RecurrentNetwork:
    """A network of two layers; of a side memory, one that is heard."""
    network = RecurrentNetwork(3, 8, 2, 2, cell, double)
    for gain in getattr(network.layers, "gains", ()):
        torch.nn.init.normal_(gain)
    return network


ALL = [(cell, double) for cell in cell_names() for double in (False, True)]


@pytest.mark.parametrize(("cell", "double"), ALL)
def test_steps_add_up_to_the_network(cell: str, double: bool) -> None:
    network = made(cell, double)
    inputs, step = torch.randn(6, 4, 3), Step(network)
    states = [torch.zeros(2, 4, 8)] * step.states
    outputs = []
    for x in inputs:
        output, *states = step(x, *states)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), network(inputs)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cell", "double"), [each for each in ALL if each[1] or each[0] == "lstm"])
def test_the_file_runs_without_torch(cell: str, double: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = made(cell, double)
    path = tmp_path / "step.onnx"
    export_step(network, path)
    assert network.training
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    assert names == ["input", "state", "cell"][: len(names)]
    assert [each.name for each in session.get_outputs()] == [
        "output",
        *(f"next_{name}" for name in names[1:]),
    ]
    for batch in (1, 2, 5):
        inputs = torch.randn(30, batch, 3)
        states = [np.zeros((2, batch, 8), np.float32)] * (len(names) - 1)
        for x, want in zip(inputs, network(inputs)[0].detach(), strict=True):
            output, *states = session.run(None, dict(zip(names, (x.numpy(), *states), strict=True)))
            np.testing.assert_allclose(output, want, rtol=1e-5, atol=1e-6)


def test_a_run_writes_its_step(train: Command, whole_run: tuple[Path, str], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    run, _ = whole_run
    checkpoint = json.loads((run / "report.json").read_text())["checkpoint"]
    train(run / "config.yaml", f"run_dir={tmp_path / 'x'}", f"ckpt={checkpoint}", "stages=[export]")
    network = network_of(checkpoint)
    session = onnxruntime.InferenceSession(tmp_path / "x" / "step.onnx")
    layers, _, width = session.get_inputs()[1].shape
    sequences = torch.randn(4, 50, session.get_inputs()[0].shape[1])  # the network has batch_first
    state = np.zeros((layers, 4, width), np.float32)
    for x, want in zip(sequences.unbind(1), network(sequences)[0].detach().unbind(1), strict=True):
        output, state = session.run(None, {"input": x.numpy(), "state": state})
        np.testing.assert_allclose(output, want, rtol=0, atol=1e-6)


def test_a_layer_without_gates_is_refused() -> None:
    network = RecurrentNetwork(3, 8, 2)
    network.layers[0] = torch.nn.GRU(3, 8)
    with pytest.raises(ValueError, match="network: its layer GRU must be a cell with gates"):
        Step(network)
