"""Adapters: parameter-efficient experts that stand at sites of a layer."""

from moe_lite.adapters.adapter import (
  SUFFIX,
  Adapter,
  AdapterFactory,
  Adapters,
  DecisionFactory,
  Site,
  adapt,
  decide,
  joined,
)
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV

__all__ = [
  'IA3',
  'SUFFIX',
  'Adapter',
  'AdapterFactory',
  'Adapters',
  'DecisionFactory',
  'LoRA',
  'MoLoRA',
  'MoV',
  'Site',
  'adapt',
  'decide',
  'joined',
]
