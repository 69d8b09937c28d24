from __future__ import annotations

from pathlib import Path

import pytest
from latch import language, latch

from lightning_warmup.proofs import certify
from studies.deployed import follow


@pytest.mark.parametrize(("precision", "proven"), [("float32", True), ("float16", True), ("int8", False)])
def test_a_latch_holds_outside_torch(precision: str, proven: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "certificate.npz"
    certify(latch(), language()).save(path)
    found = follow(latch(), path, precision, steps=300)
    assert (found["right"], found["proven"]) == (True, proven)
    assert found["in_boxes"] or precision == "int8"


def test_a_certificate_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "certificate.npz"
    certify(latch(), language()).save(path)
    with pytest.raises(
        ValueError, match=r"certificate\.npz: does not prove the network, .* leaves the box by"
    ):
        follow(latch(feedback=0.5), path, "float32", steps=300)
