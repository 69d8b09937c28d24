"""Stacks of recurrent layers, the double layer, and how any recurrent module is driven layer by layer."""

from lightning_warmup.networks.double import DoubleLayer
from lightning_warmup.networks.find import find_network
from lightning_warmup.networks.layers import Layer, layers_of
from lightning_warmup.networks.recurrent import RecurrentNetwork

__all__ = ["DoubleLayer", "Layer", "RecurrentNetwork", "find_network", "layers_of"]
