"""Reads golden values into this project's parameter paths."""

import pathlib
import re

import numpy as np

from moe_lite import adapters
from moe_lite.core import parameters
from moe_lite.t5 import T5Config

FOLDER = pathlib.Path(__file__).parent
METHODS = {
  'base': {},
  'ia3': dict.fromkeys(('key', 'value', 'intermediate'), adapters.IA3),
  'lora': dict.fromkeys(
    ('query', 'key', 'value', 'out', 'wi_0', 'wo'), adapters.LoRA
  ),
  'mov': dict.fromkeys(
    ('key', 'value', 'intermediate'),
    lambda **kwargs: adapters.MoV(num_experts=4, **kwargs),
  ),
}

# The reference's segments, and ours.
RENAMES = (
  (r'mlp/intermediate_conv', 'mlp/intermediate_adapter'),
  (r'mlp/lora_intermediate_conv', 'mlp/wi_0_adapter'),
  (r'mlp/lora_output_conv', 'mlp/wo_adapter'),
  (r'lora_q_conv', 'query_adapter'),
  (r'lora_k_conv', 'key_adapter'),
  (r'lora_v_conv', 'value_adapter'),
  (r'lora_output_conv', 'out_adapter'),
  (r'\bk_conv', 'key_adapter'),
  (r'\bv_conv', 'value_adapter'),
  (r'(ia3|mov)_scaling', 'scale'),
  (r'router/router_weights/v/kernel', 'router/kernel'),
  (r'lora_A', 'a'),
  (r'lora_B', 'b'),
)


def config(method: str, **changes) -> T5Config:
  """The golden network, with the method's adapters."""
  return T5Config(
    **{
      'vocab_size': 384,
      'emb_dim': 32,
      'num_heads': 2,
      'head_dim': 16,
      'mlp_dim': 64,
      'num_encoder_layers': 2,
      'num_decoder_layers': 2,
      'adapters': METHODS[method],
      **changes,
    }
  )


class Golden:
  """One method's file; `params` and `grads` are under our paths."""

  def __init__(self, method: str):
    file = np.load(FOLDER / f'{method}_float32.npz')
    groups = {'param': {}, 'grad': {}, 'input': {}, 'output': {}}
    for key in file.files:
      group, _, name = key.partition('/')
      if group in groups:
        groups[group][name] = file[key]
    self.params = parameters.unflatten(_ours(groups['param']))
    self.grads = parameters.unflatten(_ours(groups['grad']))
    self.inputs = groups['input']
    self.outputs = groups['output']


def _ours(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  renamed = {}
  for path, leaf in leaves.items():
    for pattern, name in RENAMES:
      path = re.sub(pattern, name, path)
    # The reference's attention vectors are [heads, expert, kv].
    if path.endswith('scale') and '_adapter' in path and leaf.ndim == 3:
      leaf = leaf.swapaxes(0, 1)
    renamed[path] = leaf
  return renamed
