"""Folders in the layout of Hugging Face's T5, made by hand."""

import json

import numpy as np
import safetensors.numpy

from moe_lite.t5 import T5Config

# Both their sizes and ours are those of `SIZES` in config.json.
CONFIG = {
  'model_type': 't5',
  'vocab_size': 48,
  'd_model': 8,
  'num_heads': 2,
  'd_kv': 3,
  'd_ff': 16,
  'num_layers': 2,
  'num_decoder_layers': 1,
  'relative_attention_num_buckets': 6,
}
# What config.json says beside the sizes, by version of T5.
VERSIONS = {
  '1.0': {},
  '1.1': {'feed_forward_proj': 'gated-gelu', 'tie_word_embeddings': False},
  # T5 1.1 as transformers 5 says it.
  '1.1 anew': {
    'feed_forward_proj': 'gated-gelu',
    'tie_word_embeddings': True,
    'scale_decoder_outputs': False,
  },
}


def network(version='1.1', **changes):
  """Our network of the same sizes."""
  tied = version == '1.0'
  return T5Config(
    **{
      'vocab_size': 48,
      'emb_dim': 8,
      'num_heads': 2,
      'head_dim': 3,
      'mlp_dim': 16,
      'num_encoder_layers': 2,
      'num_decoder_layers': 1,
      'relative_attention_num_buckets': 6,
      'mlp_activations': ('relu',) if tied else ('gelu', 'linear'),
      'logits_via_embedding': tied,
      **changes,
    }
  )


def state(version, dtype='float32', seed=0):
  """Random weights, by the names and in the layout of torch."""
  rng = np.random.default_rng(seed)
  gated = 'feed_forward_proj' in VERSIONS[version]
  V, D, F, H, K = 48, 8, 16, 2, 3
  shapes = {'shared.weight': (V, D)}
  for stack, blocks in (('encoder', 2), ('decoder', 1)):
    attentions = ['SelfAttention']
    attentions += ['EncDecAttention'] if stack == 'decoder' else []
    bias = 'block.0.layer.0.SelfAttention.relative_attention_bias'
    shapes[f'{stack}.{bias}.weight'] = (6, H)
    shapes[f'{stack}.final_layer_norm.weight'] = (D,)
    for block in range(blocks):
      for layer in range(len(attentions) + 1):
        prefix = f'{stack}.block.{block}.layer.{layer}'
        shapes[f'{prefix}.layer_norm.weight'] = (D,)
        if layer < len(attentions):
          for name in 'qkvo':
            shape = (D, H * K) if name == 'o' else (H * K, D)
            shapes[f'{prefix}.{attentions[layer]}.{name}.weight'] = shape
          continue
        for name in ('wi_0', 'wi_1') if gated else ('wi',):
          shapes[f'{prefix}.DenseReluDense.{name}.weight'] = (F, D)
        shapes[f'{prefix}.DenseReluDense.wo.weight'] = (D, F)
  if version != '1.0':
    shapes['lm_head.weight'] = (V, D)
  return {x: rng.normal(size=n).astype(dtype) for x, n in shapes.items()}


def write_config(folder, version='1.1', **changes):
  """Writes config.json; what is changed to None is left out."""
  folder.mkdir(parents=True, exist_ok=True)
  values = {**CONFIG, **VERSIONS[version], **changes}
  kept = {name: x for name, x in values.items() if x is not None}
  (folder / 'config.json').write_text(json.dumps(kept))


def write(folder, leaves, version='1.1', **changes):
  """Writes a folder with one file of weights; returns it."""
  write_config(folder, version, **changes)
  path = folder / 'model.safetensors'
  path.write_bytes(safetensors.numpy.save(leaves, {'format': 'pt'}))
  return folder


def write_shards(folder, leaves, parts, save, name, version='1.1'):
  """Writes `parts` files and their index; returns their paths.

  Args:
    save: writes a path's leaves.
    name: of the one file that they stand for.
  """
  write_config(folder, version)
  stem, _, suffix = name.rpartition('.')
  names = sorted(leaves)
  weight_map, paths = {}, []
  for part in range(parts):
    path = folder / f'{stem}-{part + 1:05d}-of-{parts:05d}.{suffix}'
    held = {leaf: leaves[leaf] for leaf in names[part::parts]}
    save(path, held)
    weight_map |= dict.fromkeys(held, path.name)
    paths.append(path)
  index = {'metadata': {}, 'weight_map': weight_map}
  (folder / f'{name}.index.json').write_text(json.dumps(index))
  return paths
