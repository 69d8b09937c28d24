"""Where the time of an epoch goes.

    python -m benchmarks.epoch [--quick] [--threads 2]

The default run of `train.py` (copy first input, T = 100, a GRU of 2 x 128, 150 batches of 32), with its logs,
checkpoints and callbacks, and with the monitor of multistability after every epoch, as Lightning's profiler sees
it. "the rest" is what Lightning's loops, logs, callbacks and checkpoints take.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch.profilers import SimpleProfiler

from benchmarks.measure import in_new_process
from benchmarks.page import Table, command

SETTINGS = (
    "stages=[fit]", "monitor.every_n_epochs=1", "tracking.wandb=disabled", "trainer.accelerator=cpu",
    "trainer.num_sanity_val_steps=0", "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
)  # fmt: skip
PARTS = {
    "data": ("train_dataloader_next", "batch_to_device"),
    "forward": (".training_step",),
    "backward": (".backward",),
    "validation": ("val_next", ".validation_step"),
    "monitor, M=1000": ("MultistabilityMonitor.on_train_epoch_end",),
}
"""Parts of an epoch, and how the names of the profiler's actions end that belong to them."""


class Durations(SimpleProfiler):
    """Lightning's profiler without its printed summary."""

    def describe(self) -> None:
        """Says nothing."""


def profile(settings: tuple[str, ...]) -> dict[str, list[float]]:
    """Runs `train.py` with ``settings``; returns the seconds of every action of Lightning's, by its name."""
    import train
    from configs.compose import compose
    from configs.run_folder import open_run_folder

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    profiler = Durations()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = compose([f"run_dir={Path(folder) / 'run'}", *SETTINGS, *settings])
        opened = open_run_folder(config)
        config.trainer.profiler = profiler  # type: ignore[assignment]  # Lightning takes an object as well
        train.run(config, opened)
    return dict(profiler.recorded_durations)


def epoch(*settings: str) -> Table:
    """Returns the table of the default run with ``settings``."""
    durations = in_new_process(profile, settings)

    def total(*endings: str) -> float:
        return sum(sum(seconds) for name, seconds in durations.items() if name.endswith(endings))

    epochs, batches = len(durations["run_training_epoch"]), len(durations["run_training_batch"])
    parts = {part: total(*endings) for part, endings in PARTS.items()}
    # Lightning calls forward and backward pass from within the step of the optimiser.
    parts["optimiser"] = total(".optimizer_step") - parts["forward"] - parts["backward"]
    whole = total("run_training_epoch", ".on_train_epoch_end")
    parts["the rest"] = whole - sum(parts.values())
    rows = [["part", "s an epoch", "ms a batch", "%"]]
    for part, seconds in [*parts.items(), ("whole epoch", whole)]:
        row = [part, f"{seconds / epochs:.3f}", f"{1e3 * seconds / batches:.2f}"]
        rows.append([*row, f"{100 * seconds / whole:.1f}"])
    rows.append(["warmup, once", f"{total('WarmupStage.on_fit_start'):.3f}", "", ""])
    return Table(f"Mean of {epochs} epochs of {batches // epochs} batches", rows)


def tables(quick: bool) -> Iterator[Table]:
    """Yields the table."""
    small = ("trainer.max_epochs=1", "trainer.limit_train_batches=50", "warmup.steps=5")
    yield epoch(*small) if quick else epoch("trainer.max_epochs=3")


if __name__ == "__main__":
    command(__doc__, tables)
