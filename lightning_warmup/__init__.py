"""Warmup of recurrent networks: a short initialisation that maximises reachable multistability.

After Lambrechts et al. 2023, "Warming up recurrent neural networks to maximise reachable multistability greatly
improves learning" (arXiv 2106.01001).
"""

from lightning_warmup.callbacks.monitor import MultistabilityMonitor
from lightning_warmup.callbacks.warmup import WarmupStage
from lightning_warmup.cells._gated import Gate, GatedCell
from lightning_warmup.dynamics.functional import resting_vaa, vaa, vaa_star
from lightning_warmup.dynamics.measure import Multistability, multistability
from lightning_warmup.procedures.result import WarmupStep
from lightning_warmup.procedures.warmup import WarmupDiverged, warmup

__all__ = [
    "Gate",
    "GatedCell",
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
