"""Stacks of recurrent layers, the double layer, and how any recurrent module is driven layer by layer."""

from lightning_warmup.networks.double import DoubleLayer
from lightning_warmup.networks.find import find_network
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.networks.side_memory import SideMemory
from lightning_warmup.networks.unrolled import Unrolled

__all__ = ["DoubleLayer", "Layer", "RecurrentNetwork", "SideMemory", "Unrolled", "find_network", "layers_of"]
