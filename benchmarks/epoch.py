"""Where the time of an epoch of the default run goes, with the monitor; measured by Lightning's profiler."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator

from lightning.pytorch.profilers import SimpleProfiler

from benchmarks.measure import Measurement, in_new_process

SETTINGS = (
    "stages=[fit]", "monitor.every_n_epochs=1", "tracking.wandb=disabled", "trainer.accelerator=cpu",
    "trainer.num_sanity_val_steps=0", "trainer.enable_progress_bar=false", "trainer.enable_model_summary=false",
)  # fmt: skip
PARTS = {
    "data": ("train_dataloader_next", "batch_to_device"),
    "forward": (".training_step",),
    "backward": (".backward",),
    "validation": ("val_next", ".validation_step"),
    "monitor of multistability": ("MultistabilityMonitor.on_train_epoch_end",),
}
"""Parts of an epoch, and the endings of the profiler's action names that belong to them."""


def profile(settings: tuple[str, ...]) -> dict[str, list[float]]:
    """Run `train.py` with settings; return the seconds of every action of Lightning's by name."""
    import train
    from configs.compose import compose
    from configs.run_folder import open_run_folder

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    profiler = SimpleProfiler()
    profiler.describe = lambda: None  # type: ignore[method-assign]  # prints no summary
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = compose([f"run_dir={folder}/run", *SETTINGS, *settings])
        # Lightning also accepts a profiler object.
        profiled = config.trainer.model_copy(update={"profiler": profiler})
        train.run(config.model_copy(update={"trainer": profiled}), open_run_folder(config))
    return dict(profiler.recorded_durations)


def epoch(*settings: str) -> Iterator[Measurement]:
    """Measure the parts of an epoch of the default run with ``settings``, and the warmup before it."""
    durations = in_new_process(profile, settings)

    def total(*endings: str) -> float:
        return sum(sum(seconds) for name, seconds in durations.items() if name.endswith(endings))

    epochs = len(durations["run_training_epoch"])
    parts = {part: total(*endings) for part, endings in PARTS.items()}
    # Lightning calls the forward and the backward pass inside the step of the optimizer.
    parts["optimiser"] = total(".optimizer_step") - parts["forward"] - parts["backward"]
    whole = total("run_training_epoch", ".on_train_epoch_end")
    parts |= {"loops, logs, callbacks and checkpoints": whole - sum(parts.values()), "whole epoch": whole}
    for part, seconds in parts.items():
        yield Measurement("epoch", part, "s", seconds / epochs, turns=epochs)
    (warmup,) = (
        sum(seconds)
        for name, seconds in durations.items()
        if "WarmupStage" in name and name.endswith(".on_fit_start")
    )
    yield Measurement("epoch", "warmup, once", "s", warmup)
    yield Measurement("epoch", "whole epoch", "batches", len(durations["run_training_batch"]) // epochs)


def measure(quick: bool) -> Iterator[Measurement]:
    """Measure three epochs, or a part of one."""
    small = ("trainer.max_epochs=1", "trainer.limit_train_batches=50", "warmup.steps=5")
    yield from epoch(*small) if quick else epoch("trainer.max_epochs=3")
