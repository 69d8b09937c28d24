"""What a run reports: multistability before, after and at the end, its figures and its times."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_warmup.callbacks.batches import ToSequences, first_element, to_device
from lightning_warmup.callbacks.stage import Stage
from lightning_warmup.dynamics.measure import multistability
from lightning_warmup.networks.find import find_network

SEQUENCES = 64
"""Number N of test sequences that a reported VAA compares, or all if there are fewer."""


class Report(Callback):
    """Gathers what ``report.json`` says of a run; put it before the stages.

    The VAA and the resting fraction are measured on the first 64 sequences of the test split, which the datamodule
    gives as ``first_test_batch(64)``, with always the same cuts and constant inputs: before the warmup, after it,
    and on the tested checkpoint.

    Args:
        steps: Constant steps M of a measurement.
        sequences: Turns a batch into sequences or ``(sequences, lengths)``, as for the stage.
        network: Attribute of the LightningModule that holds the recurrent network, as for the stage.
    """

    def __init__(
        self, steps: int = 2000, sequences: ToSequences = first_element, network: str | None = None
    ) -> None:
        self.steps = steps
        self.sequences = sequences
        self.network = network
        self.multistability: dict[str, dict[str, float] | None] = {
            "before": None,
            "after": None,
            "final": None,
        }
        self.seconds: dict[str, float] = {"warmup": 0.0, "fit": 0.0, "test": 0.0}
        self.validation: dict[str, float] = {}
        self.test: dict[str, dict[str, float]] = {}
        self.epochs = 0
        self.count = SEQUENCES
        self._training_since: float | None = None
        self._testing_since = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the network as it was initialised."""
        if trainer.ckpt_path is None:
            self.multistability["before"] = self._measure(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the network as the warmup left it."""
        self._look_at_stages(trainer, pl_module)
        self._training_since = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the network as the warmup left it, where no epoch came after."""
        self._look_at_stages(trainer, pl_module)

    def _look_at_stages(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = [c for c in trainer.callbacks if isinstance(c, Stage) and c.done]  # type: ignore[attr-defined]
        if done and self.multistability["after"] is None:
            self.seconds |= {stage.name: stage.seconds for stage in done}
            self.multistability["after"] = self._measure(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the figures that a checkpoint of this moment stands for."""
        if not trainer.sanity_checking:
            self.epochs = trainer.current_epoch + 1
            self.validation = _figures(trainer, "val")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds up the time of the fit."""
        self.seconds["fit"] = self._fit_seconds()
        self._training_since = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the network that is tested."""
        self.multistability["final"] = self._measure(trainer, pl_module)
        self._testing_since = time.perf_counter()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the test figures, grouped by the first part of their names."""
        self.seconds["test"] = time.perf_counter() - self._testing_since
        groups = sorted({name.split("/")[0] for name in trainer.callback_metrics if "/" in name})
        self.test = {group: _figures(trainer, group) for group in groups}

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from a checkpoint can't measure again."""
        return {
            "multistability": self.multistability,
            "seconds": self.seconds | {"fit": self._fit_seconds()},
            "validation": self.validation,
            "epochs": self.epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`; a tested checkpoint may be older than the end of the fit."""
        self.multistability = dict(state_dict["multistability"])
        self.validation = dict(state_dict["validation"])
        for name, value in state_dict["seconds"].items():
            self.seconds[name] = max(value, self.seconds.get(name, 0.0))
        self.epochs = max(state_dict["epochs"], self.epochs)

    def summary(self) -> dict[str, Any]:
        """The report, without what only the run knows: its seed and its checkpoint."""
        by_figure = {
            name: {moment: None if m is None else m[figure] for moment, m in self.multistability.items()}
            for name, figure in (
                ("vaa", "vaa"),
                ("resting_vaa", "resting_vaa"),
                ("rest", "resting_fraction"),
                ("residual", "residual"),
            )
        }
        return {
            **by_figure,
            "vaa_steps": self.steps,
            "vaa_sequences": self.count,
            "val": self.validation,
            **self.test,
            "seconds": self.seconds,
            "epochs": self.epochs,
        }

    def _measure(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        batch = trainer.datamodule.first_test_batch(SEQUENCES)  # type: ignore[attr-defined]
        sequences, lengths = to_device(batch, self.sequences, trainer, module)
        rnn = find_network(module, self.network)
        self.count = sequences.shape[0 if getattr(rnn, "batch_first", False) else 1]
        return asdict(multistability(rnn, sequences, lengths, steps=self.steps))

    def _fit_seconds(self) -> float:
        running = 0.0 if self._training_since is None else time.perf_counter() - self._training_since
        return self.seconds["fit"] + running


def _figures(trainer: Trainer, group: str) -> dict[str, float]:
    """The logged figures named ``group/...``, without the group."""
    return {
        name.removeprefix(f"{group}/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(f"{group}/")
    }


def table(report: dict[str, Any], trivial_loss: float | None) -> str:
    """The report as the lines that a run ends with.

    Args:
        report: The content of ``report.json``.
        trivial_loss: Loss of the best constant predictor, None if it has no meaning.
    """
    rows = [
        (f"VAA (N={report['vaa_sequences']}, M={report['vaa_steps']})", _moments(report["vaa"])),
        ("  of states at rest", _moments(report["resting_vaa"])),
        ("resting fraction", _moments(report["rest"])),
    ]
    rows += [(f"best validation {name}", f"{value:.4g}") for name, value in report["val"].items()]
    for name, value in report.get("test", {}).items():
        trivial = (
            f"   (trivial predictor {trivial_loss:g})" if name == "loss" and trivial_loss is not None else ""
        )
        rows.append((f"test {name}", f"{value:.4g}{trivial}"))
    for group in sorted(name for name in report if name.endswith("_at_length")):
        lengths = "  ".join(f"{length}: {value:.4g}" for length, value in report[group].items())
        rows.append((group.replace("_", " "), lengths))
    rows.append(("seconds", "  ".join(f"{name}: {value:.1f}" for name, value in report["seconds"].items())))
    rows.append(("checkpoint", report["checkpoint"] or "none"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _moments(values: dict[str, float | None]) -> str:
    return "  ".join(f"{moment}: {value:.2f}" for moment, value in values.items() if value is not None)
