"""Warmup of recurrent networks: a short initialisation that maximises reachable multistability.

After Lambrechts et al. 2023, "Warming up recurrent neural networks to maximise reachable multistability greatly
improves learning" (arXiv 2106.01001).
"""

from lightning_warmup.monitor import MultistabilityMonitor
from lightning_warmup.reach import Multistability, multistability
from lightning_warmup.stability import resting_vaa, vaa, vaa_star
from lightning_warmup.stage import WarmupStage
from lightning_warmup.warmup import WarmupDiverged, WarmupStep, warmup

__all__ = [
    "Multistability",
    "MultistabilityMonitor",
    "WarmupDiverged",
    "WarmupStage",
    "WarmupStep",
    "multistability",
    "resting_vaa",
    "vaa",
    "vaa_star",
    "warmup",
]
