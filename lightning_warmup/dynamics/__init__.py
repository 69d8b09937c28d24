"""Measures of where the states of a recurrent network go."""

from lightning_warmup.dynamics.functional import at_rest, resting_vaa, vaa, vaa_star
from lightning_warmup.dynamics.horizon import MemoryHorizon, memory_horizon
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.dynamics.metrics import VAA, MemorySpan, RestingFraction, VAAStar
from lightning_warmup.dynamics.reachable import reachable_states
from lightning_warmup.dynamics.settling import settle

__all__ = [
    "VAA",
    "MemoryHorizon",
    "MemorySpan",
    "Multistability",
    "RestingFraction",
    "VAAStar",
    "at_rest",
    "memory_horizon",
    "multistability",
    "reachable_states",
    "resting_vaa",
    "settle",
    "vaa",
    "vaa_star",
]
