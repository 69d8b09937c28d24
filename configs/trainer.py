"""The section `trainer`: parameters of Lightning's Trainer, as settings."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from configs.values import ConfigError, quote
from lightning_warmup.settings import Settings

_DEVICES = re.compile(r"auto|-1|[1-9][0-9]*|[0-9]+(,[0-9]+)+|[0-9]+,")
_MAX_TIME = re.compile(r"[0-9]{1,6}(:[0-9]{2}){3}")
_SHARES = (
    "limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches", "val_check_interval",
)  # fmt: skip

Precision = Literal[
    "64-true", "32-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "64", "32", "16", "bf16"
]


def _refuse_with_the_reason(strategy: str) -> str:
    allowed = "choose one of auto, ddp, ddp_find_unused_parameters_false, ddp_find_unused_parameters_true"
    if re.match("fsdp|deepspeed|model_parallel", strategy):
        raise ConfigError(f"{allowed}; a warmup sums gradients over processes that each hold all weights")
    if re.match("ddp_(spawn|fork|notebook)", strategy):
        raise ConfigError(f"{allowed}; these processes end with the training, and its results with them")
    return strategy


Strategy = Annotated[
    Literal["auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true"],
    BeforeValidator(_refuse_with_the_reason),
]


class Trainer(Settings):
    """Parameters of Lightning's Trainer, under their own names and passed on as they are."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    """Hardware to run on."""
    strategy: Strategy = "auto"
    """How processes share the work; all of them hold all weights."""
    devices: str = "auto"
    """Devices on each machine: auto, a number (-1: all), or their list, as in 0,1."""
    num_nodes: int = Field(1, ge=1)
    """Machines."""
    precision: Precision | None = None
    """Floating point precision; null = 32-true."""
    max_epochs: int = Field(6, ge=-1)
    """Epochs after which training ends; -1 = no limit."""
    min_epochs: int | None = Field(None, ge=0)
    """Epochs that early stopping can't cut short."""
    max_steps: int = Field(-1, ge=-1)
    """Training steps after which training ends; -1 = no limit."""
    max_time: str | None = None
    """Time after which training ends, as days:hours:minutes:seconds."""
    limit_train_batches: int | float | None = Field(None, ge=0)
    """Training batches in an epoch: 1 is one batch, 1.0 all, 0.1 a tenth; null = all."""
    limit_val_batches: int | float | None = Field(None, ge=0)
    """Validation batches: 1 is one batch, 1.0 all, 0.1 a tenth; null = all."""
    limit_test_batches: int | float | None = Field(None, ge=0)
    """Test batches: 1 is one batch, 1.0 all, 0.1 a tenth; null = all."""
    overfit_batches: int | float = Field(0.0, ge=0)
    """Train and validate on these batches alone: 1 is one batch, 1.0 all, 0.0 = off."""
    fast_dev_run: bool | int = Field(False, ge=0)
    """Run one batch (true) or so many of each stage, to try the code."""
    val_check_interval: int | float | None = Field(None, gt=0)
    """Validate after so many batches (2) or this share of an epoch (0.5); null = 1.0."""
    check_val_every_n_epoch: int | None = Field(1, ge=1)
    """Validate every so many epochs; null = by val_check_interval alone, across epochs."""
    num_sanity_val_steps: int | None = Field(None, ge=-1)
    """Validation batches tried before the training; -1 = all, null = 2."""
    log_every_n_steps: int | None = Field(None, ge=1)
    """Training steps between two logged rows; null = 50."""
    accumulate_grad_batches: int = Field(1, ge=1)
    """Batches whose gradients are averaged for a step."""
    gradient_clip_val: float | None = Field(None, ge=0)
    """Limit to which gradients are clipped; null = off."""
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    """What is clipped: the norm (null too) or each value."""
    deterministic: bool | None = None
    """Use deterministic algorithms only; null = as torch is set."""
    detect_anomaly: bool = False
    """Find the operation that made a gradient NaN; slow."""
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    """Profile the run; null = off."""
    enable_progress_bar: bool | None = None
    """Show progress bars; null = true."""
    enable_model_summary: bool | None = None
    """Print a table of the layers; null = true."""

    @model_validator(mode="after")
    def _check_what_lightning_takes_apart(self) -> Trainer:
        if not _DEVICES.fullmatch(self.devices):
            allowed = "auto, -1, a number or a list as 0,1"
            raise ConfigError(f"trainer.devices={quote(self.devices)}: must be {allowed}")
        if self.max_time is not None and not _MAX_TIME.fullmatch(self.max_time):
            allowed = "as 01:12:30:00 (1 day, 12.5 hours)"
            raise ConfigError(f"trainer.max_time={quote(self.max_time)}: must be {allowed}")
        for key in _SHARES:
            value = getattr(self, key)
            if isinstance(value, float) and value > 1:
                raise ConfigError(f"trainer.{key}={value}: must be a whole number, or a share up to 1.0")
        return self
