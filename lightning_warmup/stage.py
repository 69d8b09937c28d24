"""The warmup as a stage of a Lightning fit, before its first epoch."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from tqdm import tqdm

from lightning_warmup.attach import Mapping, find_network, first_element, sequence_batches
from lightning_warmup.warmup import WarmupStep, warmup_steps


class WarmupStage(Callback):
    """Warms the recurrent network of a LightningModule up when a fit starts.

    It runs once: not on resume, and not under ``fast_dev_run``. The random streams of training are left as if
    it had not run, and the training optimiser never sees its gradients. Every step is logged as ``warmup/*``
    on the axis ``warmup/step``.

    Args:
        network: Attribute of the LightningModule that holds the recurrent network (dots allowed); None finds it
            if there is exactly one.
        sequences: Turns a batch into sequences or ``(sequences, lengths)``, laid out as the network takes them;
            with lengths, as for histories of episodes, whole prefixes are used instead of random cuts.
        steps: Number of gradient steps.
        batch_size: Sequences per step, over all processes.
        seed: Seed of everything the stage draws.
        settings: ``lr``, ``epsilon``, ``target``, ``max_stabilization``, ``stabilization_ramp`` and ``leaky`` of
            :func:`lightning_warmup.warmup.warmup_steps`.

    Raises:
        ValueError: At the start of the fit, if the network is not found or an argument is out of range.
        WarmupDiverged: If the loss or a gradient of the warmup is not finite.

    Example:
        ``trainer = Trainer(callbacks=[WarmupStage(steps=100)])``
    """

    def __init__(
        self,
        network: str | None = None,
        sequences: Mapping = first_element,
        *,
        steps: int = 100,
        batch_size: int = 32,
        seed: int = 0,
        **settings: float,
    ) -> None:
        self.network = network
        self.sequences = sequences
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed
        self.settings = settings
        self.done = False
        self.seconds = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the warmup."""
        if self.done or trainer.ckpt_path is not None:
            rank_zero_info("Warmup: not repeated, the fit goes on from a checkpoint.")
            return
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_info("Warmup: skipped under fast_dev_run.")
            return
        rnn = find_network(pl_module, self.network)
        training = rnn.training
        start = time.perf_counter()
        with isolate_rng():
            batches = sequence_batches(trainer, pl_module, self.sequences, self.batch_size, self.seed)
            progress = tqdm(
                warmup_steps(rnn.train(), batches, steps=self.steps, seed=self.seed, **self.settings),  # type: ignore[arg-type]
                desc="Warmup",
                total=self.steps,
                disable=trainer.progress_bar_callback is None or not trainer.is_global_zero,
            )
            for step in progress:
                progress.set_postfix({"VAA*": f"{step.vaa_star:.2f}", "M": step.stabilization})
                _log(trainer, step)
        rnn.train(training)
        self.done = True
        self.seconds = time.perf_counter() - start

    def state_dict(self) -> dict[str, Any]:
        """Whether the warmup is done, and how long it took."""
        return {"done": self.done, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.done = state_dict["done"]
        self.seconds = state_dict["seconds"]


def _log(trainer: Trainer, step: WarmupStep) -> None:
    metrics = {
        "warmup/step": step.step,
        "warmup/loss": step.loss,
        "warmup/vaa_star": step.vaa_star,
        "warmup/stabilization": step.stabilization,
        "warmup/gradient_norm": step.gradient_norm,
    }
    for logger in trainer.loggers:
        define_metric = getattr(getattr(logger, "experiment", None), "define_metric", None)
        if define_metric is not None:  # Weights & Biases: not on the axis of the training steps
            if step.step == 0:
                define_metric("warmup/step")
                define_metric("warmup/*", step_metric="warmup/step")
            logger.log_metrics(metrics)
        else:
            logger.log_metrics(metrics, step=step.step)
