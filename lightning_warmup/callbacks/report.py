"""The report of a run: multistability at three moments, metrics and times."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_warmup._compat import on_device
from lightning_warmup.callbacks.batches import ToSequences, sequences_of
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.dynamics.horizon import MemoryHorizon, memory_horizon
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.dynamics.portraits import FOLDER, portrait
from lightning_warmup.dynamics.spans import MEMORY
from lightning_warmup.networks.find import find_network
from lightning_warmup.networks.layers import layers_of
from lightning_warmup.networks.mode import in_mode

SEQUENCES = 64  # N of a reported VAA, if the test split has as many
REPORTED = ("memory", "vaa", "resting_vaa", "rest", "residual", "attractors", "spectral_radius")


class Report(Callback):
    """Collects the content of ``report.json`` and saves portraits of the network; put it before the stages.

    Multistability is measured before the stages, after them, and on the tested checkpoint. The sequences are always
    the first 64 of the test split, ``datamodule.first_test_batch(64)``, with the same cuts and constant inputs.
    Portraits are saved as ``portraits/before.npz``, ``portraits/NAME.npz`` with the name of the last stage, and
    ``portraits/final.npz``. Beside them, ``memory/`` holds what is left of the memory after how many steps.

    Args:
        folder: Run folder.
        steps: Number M of constant steps of a measurement.
        sequences: As for :class:`lightning_warmup.WarmupStage`.
        network: As for :class:`lightning_warmup.WarmupStage`.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        sequences: ToSequences | None,
        network: str | None,
    ) -> None:
        self.folder = folder
        self.steps = steps
        self.sequences = sequences
        self.network = network
        self.count = SEQUENCES
        self.measured: dict[str, dict[str, Any] | None] = dict.fromkeys(("before", "after", "final"))
        self.stages: dict[str, dict[str, Any]] = {}
        self.validation: dict[str, float] = {}
        self.test: dict[str, dict[str, float]] = {}
        self.certified: dict[str, Any] | None = None
        self.epochs = 0
        self.seconds = {"warmup": 0.0, "fit": 0.0, "test": 0.0}
        self._fit_since: float | None = None  # the start of a fit that took no time before
        self._test_since = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the initialised network."""
        if trainer.ckpt_path is None:
            self.measured["before"] = self._measure(trainer, pl_module, "before")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network after the stages."""
        self.on_fit_end(trainer, pl_module)
        self._fit_since = time.perf_counter() - self.seconds["fit"]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network after the stages, unless that was done when the training started."""
        done = [c for c in trainer.callbacks if isinstance(c, Stage) and c.done]  # type: ignore[attr-defined]
        if done and self.measured["after"] is None:
            self.seconds |= {stage.name: stage.seconds for stage in done}
            self.stages = {stage.name: stage.summary() for stage in done}
            self.measured["after"] = self._measure(trainer, pl_module, done[-1].name)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the metrics of the checkpoint that may be written now."""
        if not trainer.sanity_checking:
            self.epochs = trainer.current_epoch + 1
            self.validation = _metrics(trainer).get("val", {})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the time of the fit."""
        self._time_fit()
        self._fit_since = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the tested network."""
        self.measured["final"] = self._measure(trainer, pl_module, "final")
        self._test_since = time.perf_counter()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the test metrics."""
        self.seconds["test"] = time.perf_counter() - self._test_since
        self.test = _metrics(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run can't measure again."""
        self._time_fit()
        return {
            "multistability": self.measured,
            "stages": self.stages,
            "seconds": self.seconds,
            "validation": self.validation,
            "epochs": self.epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, but keep longer times: a tested checkpoint may be older than the fit."""
        self.measured = dict(state_dict["multistability"])
        self.stages = dict(state_dict["stages"])
        self.validation = dict(state_dict["validation"])
        for name, value in state_dict["seconds"].items():
            self.seconds[name] = max(value, self.seconds.get(name, 0.0))
        self.epochs = max(state_dict["epochs"], self.epochs)

    def summary(self) -> dict[str, Any]:
        """Return the report without seed and checkpoint, which ``train.py`` adds."""
        return {
            **{name: {when: it and it.get(name) for when, it in self.measured.items()} for name in REPORTED},
            "vaa_steps": self.steps,
            "vaa_sequences": self.count,
            "stages": self.stages,
            "val": self.validation,
            **self.test,
            "certified": self.certified,
            "seconds": self.seconds,
            "epochs": self.epochs,
        }

    def _measure(self, trainer: Trainer, module: LightningModule, moment: str) -> dict[str, Any]:
        batch = on_device(trainer, trainer.datamodule.first_test_batch(SEQUENCES))  # type: ignore[attr-defined]
        rnn = find_network(module, self.network)
        sequences, lengths = sequences_of(trainer, module, rnn, self.sequences, batch)
        self.count = sequences.shape[1]
        with in_mode(rnn, training=False):
            layers = layers_of(rnn)
            metrics = asdict(multistability(layers, sequences, lengths, steps=self.steps))
            metrics["rest"] = metrics.pop("resting_fraction")
            horizon = memory_horizon(layers, sequences, lengths) if self.count > 1 else None
            metrics["memory"] = horizon and _spans(horizon)
            if not trainer.is_global_zero:
                return metrics
            taken = portrait(layers, sequences, lengths, steps=self.steps)
        metrics |= {"attractors": taken.attractors, "spectral_radius": taken.spectral_radius}
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            taken.save(self.folder / FOLDER / f"{moment}.npz")
            if horizon:
                horizon.forward.save(self.folder / MEMORY / f"{moment}.npz")
        return metrics

    def _time_fit(self) -> None:
        if self._fit_since is not None:
            self.seconds["fit"] = time.perf_counter() - self._fit_since


def _spans(horizon: MemoryHorizon) -> dict[str, float]:
    """Return the medians of the steps that a network remembers, and how many pairs of sequences stay apart."""
    forward, backward = horizon.forward, horizon.backward
    return {
        "steps": forward.median,
        "gradient_steps": backward.median,
        "limit": forward.limit,
        "gradient_limit": backward.limit,
        "apart": forward.apart,
        "pairs": len(forward.steps),
    }


def _metrics(trainer: Trainer) -> dict[str, dict[str, float]]:
    """Return the logged metrics, grouped by the first part of their names."""
    groups: dict[str, dict[str, float]] = {}
    for key, value in trainer.callback_metrics.items():
        group, slash, name = key.partition("/")
        if slash:
            groups.setdefault(group, {})[name] = float(value)
    return dict(sorted(groups.items()))
