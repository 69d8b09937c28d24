"""The proof of a network after its training."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_warmup.callbacks.report import Report
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.proofs import prove


def prove_network(trainer: Trainer, report: Report, steps: int, radius: float, checkpoint: Path) -> Path:
    """Make the network of a module provable after its fit; the report gets its certificate.

    With a proof, ``certificate.npz`` in the run folder has the boxes, and ``proven.ckpt`` beside the checkpoint
    the network that they prove.

    Args:
        trainer: After a fit; its datamodule has ``automaton()``, see :class:`datamodules.Benchmark`.
        report: The report of the run.
        steps: Most gradient steps.
        radius: Least half-width of the boxes.
        checkpoint: The best one, whose weights the module has.

    Returns:
        The checkpoint to test: ``proven.ckpt``, or without a proof the best one.
    """
    start = time.perf_counter()
    data, network = trainer.datamodule, trainer.lightning_module.network  # type: ignore[attr-defined]
    assert isinstance(network, RecurrentNetwork)
    found = prove(
        network, data.automaton(), data.longest, steps, radius
    )  # on the CPU, where Lightning left it
    report.seconds["proof"] = time.perf_counter() - start
    report.certified = found.summary()
    if found.from_length is None:
        return checkpoint
    report.certified["from_length"] = data.length_of(found.from_length)
    if trainer.is_global_zero:
        found.save(report.folder / "certificate.npz")
    proven = checkpoint.with_name("proven.ckpt")
    trainer.save_checkpoint(proven)
    return proven
