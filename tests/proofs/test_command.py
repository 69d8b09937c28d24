from __future__ import annotations

from pathlib import Path

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


def write(folder: Path, network: RecurrentNetwork) -> None:
    sizes = {
        "input_size": 3,
        "hidden_size": 1,
        "output_size": 2,
        "num_layers": 1,
        "cell": "gru",
        "double": False,
    }
    weights = {
        f"{name}.{key}": w for name in ("network", "target") for key, w in network.state_dict().items()
    }
    content = {"state_dict": weights, "hyper_parameters": {"network": sizes}}
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
