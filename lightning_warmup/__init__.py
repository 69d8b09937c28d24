"""Warm up recurrent networks: a short initialisation that maximises reachable multistability.

After Lambrechts et al. 2023, "Warming up recurrent neural networks to maximise reachable multistability greatly
improves learning" (arXiv 2106.01001).
"""

from lightning_warmup.callbacks.monitor import MultistabilityMonitor
from lightning_warmup.callbacks.pretrain import PretrainStage
from lightning_warmup.callbacks.warmup import WarmupStage
from lightning_warmup.cells import Gate, GatedCell
from lightning_warmup.dynamics.functional import at_rest, resting_vaa, vaa, vaa_star
from lightning_warmup.dynamics.horizon import MemoryHorizon, memory_horizon
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.dynamics.metrics import VAA, MemorySpan, RestingFraction, VAAStar
from lightning_warmup.dynamics.portraits import Portrait, portrait
from lightning_warmup.networks import (
    DoubleLayer,
    RecurrentNetwork,
    SideMemory,
    Unrolled,
    find_network,
    layers_of,
)
from lightning_warmup.networks.observed import observe
from lightning_warmup.procedures.result import WarmupResult, WarmupStep
from lightning_warmup.procedures.warmup import WarmupDiverged, warmup

__version__ = "0.2.0"

__all__ = [
    "VAA",
    "DoubleLayer",
    "Gate",
    "GatedCell",
    "MemoryHorizon",
    "MemorySpan",
    "Multistability",
    "MultistabilityMonitor",
    "Portrait",
    "PretrainStage",
    "RecurrentNetwork",
    "RestingFraction",
    "SideMemory",
    "Unrolled",
    "VAAStar",
    "WarmupDiverged",
    "WarmupResult",
    "WarmupStage",
    "WarmupStep",
    "at_rest",
    "find_network",
    "layers_of",
    "memory_horizon",
    "multistability",
    "observe",
    "portrait",
    "resting_vaa",
    "vaa",
    "vaa_star",
    "warmup",
]
