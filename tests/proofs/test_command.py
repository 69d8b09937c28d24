from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from latch import language, latch

from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.proofs import certify
from lightning_warmup.proofs.__main__ import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as far as the command reads it."""
    certify(latch(), language()).save(tmp_path / "certificate.npz")
    (tmp_path / "checkpoints").mkdir()
    write(tmp_path, latch())
    return tmp_path


SIZES = {
    "input_size": 3,
    "hidden_size": 1,
    "output_size": 2,
    "num_layers": 1,
    "cell": "gru",
    "double": False,
}


def write(folder: Path, network: RecurrentNetwork) -> None:
    weights = {
        f"{name}.{key}": w for name in ("network", "target") for key, w in network.state_dict().items()
    }
    content = {"state_dict": weights, "hyper_parameters": {"network": SIZES}}
    torch.save(content, folder / "checkpoints" / "proven.ckpt")


def test_a_proof_is_checked_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    assert "proven for every string of 1 symbols or more, in real arithmetic" in capsys.readouterr().out


def test_weights_that_differ_are_not_proven(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, latch(feedback=1.05))
    assert main([str(folder)]) == 1
    assert "not proven: " in capsys.readouterr().out


def test_a_file_that_is_missing_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "certificate.npz").unlink()
    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {folder / 'certificate.npz'}: there is no such file\n"


@pytest.mark.parametrize(
    "content",
    [
        b"hi\n",
        [1.0],
        {},
        {"hyper_parameters": "none", "state_dict": {}},
        {"hyper_parameters": {"network": {"input_size": 3}}, "state_dict": {"rnn.bias": torch.zeros(3)}},
        {"hyper_parameters": {"network": {**SIZES, "hidden_size": 3}}, "state_dict": {}},
    ],
)
def test_a_checkpoint_without_a_network_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    message = r"error: ckpt='.*proven\.ckpt': not a checkpoint of a run, or damaged \(\w+\)\n"
    path = folder / "checkpoints" / "proven.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    assert main([str(folder)]) == 2
    assert re.fullmatch(message, capsys.readouterr().err)


@pytest.mark.parametrize("content", [b"hi\n", b"PK\x03\x04"])
def test_a_damaged_certificate_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (folder / "certificate.npz").write_bytes(content)
    assert main([str(folder)]) == 2
    message = r"error: .*certificate\.npz: not a certificate, or damaged \(\w+\)\n"
    assert re.fullmatch(message, capsys.readouterr().err)
