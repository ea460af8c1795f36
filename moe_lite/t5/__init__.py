"""T5 1.1 and 1.0, with named sites for adapters.

A thing belongs here if it is about the network and knows no method.
"""

from moe_lite.t5.config import T5Config
from moe_lite.t5.network import Transformer

__all__ = ['T5Config', 'Transformer']
