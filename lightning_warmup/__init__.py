"""Warm up recurrent networks: a short initialisation that maximises reachable multistability.

After Lambrechts et al. 2023, "Warming up recurrent neural networks to maximise reachable multistability greatly
improves learning" (arXiv 2106.01001).
"""

import lazy_loader

__version__ = "0.3.0.dev0"

# The public names are those that __init__.pyi imports; each is imported when it is first asked for, so that what
# needs no torch, such as the settings, does not wait for it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
