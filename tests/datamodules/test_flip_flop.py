"""Flip-flop: what is written, ignored and read, how often, and how a run counts its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmark import benchmark
from lightning.pytorch import Trainer

from datamodules.flip_flop import IGNORE, READ, WRITE, ZERO, FlipFlop
from lightning_warmup import WarmupStage
from lightning_warmup.callbacks.pretrain import PretrainStage
from lightning_warmup.modules.sequence import SequenceModule

SMALL = {"seq_length": 40, "train_size": 64, "val_size": 16, "test_size": 200, "test_lengths": (60,)}


def test_the_answer_to_a_read_is_the_bit_last_written() -> None:
    for loader in benchmark("flip_flop", **SMALL).test_dataloader():
        for sequences, targets, steps in loader:
            assert torch.equal(sequences.sum(2), torch.ones(sequences.shape[:2]))
            for tokens, answers, read_at in zip(sequences.argmax(2), targets, steps, strict=True):
                expected, memory = {}, None
                for place, (instruction, token) in enumerate(tokens.view(-1, 2).tolist()):
                    assert instruction in (WRITE, IGNORE, READ)
                    assert token - ZERO in (0, 1)
                    if instruction == WRITE:
                        memory = token - ZERO
                    if instruction == READ:
                        assert memory == token - ZERO  # what follows a read is its answer
                        expected[2 * place] = memory
                valid = read_at >= 0
                assert dict(zip(read_at[valid].tolist(), answers[valid].tolist(), strict=True)) == expected
                assert 0 not in expected  # the first instruction writes,
                assert len(tokens) - 2 in expected  # and the last one reads


@pytest.mark.parametrize("ignore", [0.98, 0.1, 0.0, 1.0])
def test_the_share_of_ignored_bits_is_as_asked_and_writes_and_reads_share_the_rest(ignore: float) -> None:
    data = benchmark(
        "flip_flop", **SMALL | {"seq_length": 400, "test_lengths": ()}, ignore=0.5, test_ignore=(ignore,)
    )
    assert data.test_names == (f"ignore/{ignore:g}",)
    tokens = torch.cat([sequences.argmax(2) for sequences, _, _ in data.test_dataloader()[1]])
    inner = tokens[:, 2:-2:2]
    expected = {IGNORE: ignore, WRITE: (1 - ignore) / 2, READ: (1 - ignore) / 2}
    for token, share in expected.items():
        assert (inner == token).float().mean().item() == pytest.approx(share, abs=0.015)
    assert (tokens[:, 1] == ZERO).float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_the_bit_has_to_be_held_under_the_ignore_token_and_both_bits() -> None:
    assert FlipFlop.holding_inputs.argmax(1).tolist() == [IGNORE, ZERO, ZERO + 1]
    assert torch.equal(FlipFlop.holding_inputs.sum(1), torch.ones(3))


@pytest.mark.parametrize(
    "mistake",
    [{"seq_length": 41}, {"seq_length": 2}, {"test_lengths": (61,)}, {"ignore": 1.5}, {"test_ignore": (-1,)}],
)
def test_mistakes_are_refused(mistake: dict[str, object]) -> None:
    (name, value) = next(iter(mistake.items()))
    value = value[0] if isinstance(value, tuple) else value
    with pytest.raises(ValueError, match=f"{name}={value}: must be "):
        benchmark("flip_flop", **SMALL | mistake)


class Repeats(SequenceModule):
    """Answers every read with 1."""

    def forward(self, sequences: torch.Tensor, read_at: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(sequences, read_at) * 0 + torch.tensor([0.0, 1.0])


def test_a_run_is_pretrained_warmed_up_and_counts_the_wrong_reads_of_every_test(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = benchmark("flip_flop", **SMALL)
    module = Repeats({"input_size": 5, "hidden_size": 8, "output_size": 2}, "classification")
    stages = [
        PretrainStage("network", module.sequences, steps=1),
        WarmupStage("network", module.sequences, steps=1),
    ]
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=1,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=stages,
    )  # fmt: skip
    trainer.fit(module, data)
    assert all(stage.done for stage in stages)
    figures = {
        key: value for found in trainer.test(module, data, verbose=False) for key, value in found.items()
    }
    keys = ["test/{}", "{}_at_length/60", "{}_at_ignore/0.98", "{}_at_ignore/0.1"]
    for key, loader in zip(keys, data.test_dataloader(), strict=True):
        answers = torch.cat([targets[steps >= 0] for _, targets, steps in loader])
        assert figures[key.format("errors")] == (answers == 0).sum()
        accuracy = (answers == 1).float().mean().item()
        assert figures[key.format("accuracy")] == pytest.approx(accuracy, rel=1e-5)
    assert {"test/loss", "test_at_length/60", "test_at_ignore/0.98"} <= set(figures)
