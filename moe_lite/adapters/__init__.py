"""Adapters: parameter-efficient experts that stand at sites of a layer.

A thing belongs here if it is a method and does not depend on the size of a
model.
"""

from moe_lite.adapters.adapter import (
  Adapter,
  AdapterFactory,
  Adapters,
  Site,
  adapt,
  joined,
)
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV

__all__ = [
  'IA3',
  'Adapter',
  'AdapterFactory',
  'Adapters',
  'LoRA',
  'MoLoRA',
  'MoV',
  'Site',
  'adapt',
  'joined',
]
