"""The consolidation of a policy after its training."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_warmup.callbacks.report import Report
from lightning_warmup.dynamics.certificate import Waiting, certify
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.procedures.consolidate import consolidate


def consolidate_policy(trainer: Trainer, report: Report, steps: int, path: Path) -> None:
    """Consolidate the policy of a module after its fit, and save it; the report gets the certificate before.

    Args:
        trainer: After a fit; its datamodule has ``waiting()`` and ``length``, see :class:`datamodules.Benchmark`.
        report: The report of the run.
        steps: Steps of a round, as for :func:`lightning_warmup.procedures.consolidate.consolidate`.
        path: Checkpoint to write.
    """
    start = time.perf_counter()
    data, network = trainer.datamodule, trainer.lightning_module.network  # type: ignore[attr-defined]
    assert isinstance(network, RecurrentNetwork)
    task = Waiting(**data.waiting())
    report.certified_before = asdict(certify(network, task))  # on the CPU, where Lightning has left it
    consolidate(network, task, data.length - 1, steps=steps)
    report.seconds["consolidate"] = time.perf_counter() - start
    trainer.save_checkpoint(path)
