from __future__ import annotations

from pathlib import Path

import pytest
import torch
from latch import HOLD, SET, language, latch, waiting

from lightning_warmup.engine.gates import gate_weights
from lightning_warmup.proofs import certify
from lightning_warmup.proofs.machine import Machine
from studies.deployed import follow, stands


@pytest.mark.parametrize(("precision", "proven"), [("float32", True), ("float16", True), ("int8", False)])
def test_a_latch_holds_outside_torch(precision: str, proven: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "certificate.npz"
    certify(latch(), language()).save(path)
    found = follow(latch(), path, precision, steps=300)
    assert (found["right"], found["proven"], found["from_length"]) == (True, proven, 1 if proven else "")
    assert found["in_boxes"] or precision == "int8"


def test_a_certificate_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "certificate.npz"
    certify(latch(), language()).save(path)
    with pytest.raises(
        ValueError, match=r"certificate\.npz: does not prove the network, .* leaves the box by"
    ):
        follow(latch(feedback=0.5), path, "float32", steps=300)


def test_rounding_counts_from_the_first_step_on() -> None:
    """A state that creeps to its box in real arithmetic, and in float16 stays where it is."""
    network = latch()
    with torch.no_grad():
        gate_weights(network.layers[0])["n"].weight_ih.copy_(
            torch.tensor([[0.55078125, -9.0, -1.4521484375]])
        )
        network.readout.bias.copy_(torch.tensor([-0.97, 0.97]))
        machine, ends = Machine(network), []
        for precision in (torch.float64, torch.float16):
            state = torch.zeros(1, 1).double()
            for symbol in [SET, *[HOLD] * 100]:
                state = machine.step(symbol[None].double(), state).to(precision).double()
            ends.append(float(state))
    assert ends[0] > 0.97
    assert ends[1] < 0.51
    proof = certify(network, waiting())
    assert proof.proven
    assert proof.boxes is not None
    assert proof.disturbance > 2**-10
    assert stands(network, waiting(), proof.boxes, torch.float16) is None
    assert stands(network, waiting(), proof.boxes, torch.float32) == proof.from_length
