"""Stacks of recurrent layers, the double layer, and how any recurrent module is driven layer by layer."""
