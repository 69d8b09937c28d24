"""The section `trainer`: parameters of Lightning's Trainer, as settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from configs.setting import setting
from configs.values import ConfigError, quote

_SHARES = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "overfit_batches",
    "val_check_interval",
)


@dataclass
class Trainer:
    """Parameters of Lightning's Trainer, under their own names and passed on as they are."""

    accelerator: str = setting(
        "auto", "Hardware to run on.", choices=("auto", "cpu", "gpu", "cuda", "mps", "tpu")
    )
    strategy: str = setting("auto", "How processes share the work.", choices=("auto", "ddp"))
    devices: str = setting(
        "auto", "Devices on each machine: auto, a number (-1: all), or their list, as in 0,1."
    )
    num_nodes: int = setting(1, "Machines.", minimum=1)
    precision: str | None = setting(
        None,
        "Floating point precision; null = 32-true.",
        choices=(
            "64-true",
            "32-true",
            "16-true",
            "bf16-true",
            "16-mixed",
            "bf16-mixed",
            "64",
            "32",
            "16",
            "bf16",
        ),
    )
    max_epochs: int = setting(6, "Epochs after which training ends; -1 = no limit.", minimum=-1)
    min_epochs: int | None = setting(None, "Epochs that early stopping can't cut short.", minimum=0)
    max_steps: int = setting(-1, "Training steps after which training ends; -1 = no limit.", minimum=-1)
    max_time: str | None = setting(None, "Time after which training ends, as days:hours:minutes:seconds.")
    limit_train_batches: int | float | None = setting(
        None, "Training batches in an epoch: 1 is one batch, 1.0 all, 0.1 a tenth; null = all.", minimum=0
    )
    limit_val_batches: int | float | None = setting(
        None, "Validation batches: 1 is one batch, 1.0 all, 0.1 a tenth; null = all.", minimum=0
    )
    limit_test_batches: int | float | None = setting(
        None, "Test batches: 1 is one batch, 1.0 all, 0.1 a tenth; null = all.", minimum=0
    )
    overfit_batches: int | float = setting(
        0.0, "Train and validate on these batches alone: 1 is one batch, 1.0 all, 0.0 = off.", minimum=0
    )
    fast_dev_run: bool | int = setting(
        False, "Run one batch (true) or so many of each stage, to try the code.", minimum=0
    )
    val_check_interval: int | float | None = setting(
        None, "Validate after so many batches (2) or this share of an epoch (0.5); null = 1.0.", above=0
    )
    check_val_every_n_epoch: int | None = setting(
        1, "Validate every so many epochs; null = by val_check_interval alone, across epochs.", minimum=1
    )
    num_sanity_val_steps: int | None = setting(
        None, "Validation batches tried before the training; -1 = all, null = 2.", minimum=-1
    )
    log_every_n_steps: int | None = setting(
        None, "Training steps between two logged rows; null = 50.", minimum=1
    )
    accumulate_grad_batches: int = setting(1, "Batches whose gradients are summed for a step.", minimum=1)
    gradient_clip_val: float | None = setting(
        None, "Limit to which gradients are clipped; null = off.", minimum=0
    )
    gradient_clip_algorithm: str | None = setting(
        None, "What is clipped: the norm (null too) or each value.", choices=("norm", "value")
    )
    deterministic: bool | None = setting(None, "Use deterministic algorithms only; null = as torch is set.")
    detect_anomaly: bool = setting(False, "Find the operation that made a gradient NaN; slow.")
    profiler: str | None = setting(
        None, "Profile the run; null = off.", choices=("simple", "advanced", "pytorch")
    )
    enable_progress_bar: bool | None = setting(None, "Show progress bars; null = true.")
    enable_model_summary: bool | None = setting(None, "Print a table of the layers; null = true.")

    def __post_init__(self) -> None:
        """Checks texts that Lightning takes apart, and shares of batches."""
        if not re.fullmatch(r"auto|-1|[1-9][0-9]*|[0-9]+(,[0-9]+)+|[0-9]+,", self.devices):
            raise ConfigError(
                f"trainer.devices={quote(self.devices)}: must be auto, -1, a number or a list as 0,1"
            )
        if self.max_time is not None and not re.fullmatch(r"[0-9]{1,6}(:[0-9]{2}){3}", self.max_time):
            raise ConfigError(
                f"trainer.max_time={quote(self.max_time)}: must be as 01:12:30:00 (1 day, 12.5 hours)"
            )
        for key in _SHARES:
            value = getattr(self, key)
            if isinstance(value, float) and value > 1:
                raise ConfigError(f"trainer.{key}={value}: must be a whole number, or a share up to 1.0")
