"""A default of the command line is that of the library, wherever both have the setting."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from configs.model import Model
from configs.run import Agent, Config, Proof
from configs.warmup import Pretrain, Warmup
from lightning_warmup import WarmupStage, warmup
from lightning_warmup.callbacks.pretrain import PretrainStage
from lightning_warmup.modules import DQNModule
from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.pretrain import PretrainPlan
from lightning_warmup.proofs import prove
from lightning_warmup.settings import Settings

DIFFER = {
    (Model, "double"): "a plain network in the library, as in torch",
    (Pretrain, "task"): "none in a configuration, where a pretraining is not asked for",
    (Proof, "steps"): "none in a configuration, where a proof is not asked for",
    (Warmup, "objective"): "its name in the library",
}
"""Settings with two defaults, and why."""


@pytest.mark.parametrize(
    ("settings", "function"),
    [
        (Model, RecurrentNetwork),
        (Agent, DQNModule),
        (Warmup, WarmupStage),
        (Warmup, warmup),
        (Warmup, WarmupPlan),
        (Pretrain, PretrainStage),
        (Pretrain, PretrainPlan),
        (Proof, prove),
        (Config, WarmupStage),
    ],
)
def test_defaults_are_equal(settings: type[Settings], function: Callable[..., Any]) -> None:
    chosen = settings()
    compared = 0
    for name, parameter in inspect.signature(function).parameters.items():
        known = name in settings.model_fields and (settings, name) not in DIFFER
        if known and parameter.default is not inspect.Parameter.empty:
            assert parameter.default == getattr(chosen, name), f"{name} of {function.__name__}"
            compared += 1
    assert compared > 0
