"""The parameters of Lightning's Trainer, as settings."""

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


def _check_strategy(strategy: str) -> str:
    allowed = "choose one of auto, ddp, ddp_find_unused_parameters_false, ddp_find_unused_parameters_true"
    if re.match("fsdp|deepspeed|model_parallel", strategy):
        raise ConfigError(f"{allowed}; a warmup needs all weights in every process")
    if re.match("ddp_(spawn|fork|notebook)", strategy):
        raise ConfigError(f"{allowed}; these processes end with the training, and its metrics are lost")
    return strategy


Strategy = Annotated[
    Literal["auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true"],
    BeforeValidator(_check_strategy),
]


class Trainer(Settings):
    """Parameters of Lightning's Trainer, with the same names; they are passed on unchanged."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    """Hardware to use."""
    strategy: Strategy = "auto"
    """How processes share the work; each holds all weights."""
    devices: str = "auto"
    """Devices on each machine: auto, a number (-1 = all), or a list such as 0,1."""
    num_nodes: int = Field(1, ge=1)
    """Number of machines."""
    precision: Precision | None = None
    """Floating point precision; null = 32-true."""
    max_epochs: int = Field(6, ge=-1)
    """Maximum number of epochs; -1 = no limit."""
    min_epochs: int | None = Field(None, ge=0)
    """Minimum number of epochs, whatever early stopping says."""
    max_steps: int = Field(-1, ge=-1)
    """Maximum number of training steps; -1 = no limit."""
    max_time: str | None = None
    """Maximum training time, as days:hours:minutes:seconds."""
    limit_train_batches: int | float | None = Field(None, ge=0)
    """Training batches per epoch: 1 is one batch, 1.0 all, 0.1 a tenth; null = all."""
    limit_val_batches: int | float | None = Field(None, ge=0)
    """Validation batches: 1 is one batch, 1.0 all, 0.1 a tenth; null = all."""
    limit_test_batches: int | float | None = Field(None, ge=0)
    """Test batches: 1 is one batch, 1.0 all, 0.1 a tenth; null = all."""
    overfit_batches: int | float = Field(0.0, ge=0)
    """Train and validate on these batches only: 1 is one batch, 1.0 all, 0.0 = off."""
    fast_dev_run: bool | int = Field(False, ge=0)
    """Run one batch (true) or this many batches of each stage, to try the code."""
    val_check_interval: int | float | None = Field(None, gt=0)
    """Batches (2) or fraction of an epoch (0.5) between two validations; null = 1.0."""
    check_val_every_n_epoch: int | None = Field(1, ge=1)
    """Epochs between two validations; null = only by val_check_interval, counted across epochs."""
    num_sanity_val_steps: int | None = Field(None, ge=-1)
    """Validation batches to try before the training; -1 = all, null = 2."""
    log_every_n_steps: int | None = Field(None, ge=1)
    """Training steps between two logged rows; null = 50."""
    accumulate_grad_batches: int = Field(1, ge=1)
    """Average the gradients of this many batches for each step."""
    gradient_clip_val: float | None = Field(None, ge=0)
    """Clip gradients to this value; null = off."""
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    """Clip the norm of all gradients, or each value; null = norm."""
    deterministic: bool | None = None
    """Use only deterministic algorithms; null = torch's current mode."""
    detect_anomaly: bool = False
    """Find the operation that produces a NaN gradient; slow."""
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    """Profile the run; null = off."""
    enable_progress_bar: bool | None = None
    """Show progress bars; null = true."""
    enable_model_summary: bool | None = None
    """Print a table of the layers; null = true."""

    @model_validator(mode="after")
    def _check_text_and_fractions(self) -> Trainer:
        if not _DEVICES.fullmatch(self.devices):
            allowed = "auto, -1, a number or a list such as 0,1"
            raise ConfigError(f"trainer.devices={quote(self.devices)}: must be {allowed}")
        if self.max_time is not None and not _MAX_TIME.fullmatch(self.max_time):
            allowed = "days:hours:minutes:seconds, such as 01:12:30:00"
            raise ConfigError(f"trainer.max_time={quote(self.max_time)}: must be {allowed}")
        for key in _SHARES:
            value = getattr(self, key)
            if isinstance(value, float) and value > 1:
                raise ConfigError(f"trainer.{key}={value}: must be a whole number, or a fraction up to 1.0")
        return self

    @property
    def processes(self) -> int | None:
        """Number of processes that the settings ask for, None if it depends on the hardware."""
        if self.devices in ("auto", "-1"):
            return None
        numbers = self.devices.rstrip(",").split(",")
        devices = len(numbers) if "," in self.devices else int(self.devices)
        return devices * self.num_nodes
