"""LightningModules: one for sequences, one for control."""

from lightning_warmup.modules.dqn import DQNModule
from lightning_warmup.modules.parts import NetworkModule
from lightning_warmup.modules.sequence import SequenceModule

__all__ = ["DQNModule", "NetworkModule", "SequenceModule"]
