"""A small network, a base for it, and batches without SeqIO."""

import functools

import jax
import numpy as np

from moe_lite import adapters
from moe_lite.checkpoints import base_folder
from moe_lite.checkpoints.description import NO_BASE, Description
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer
from moe_lite.t5.method import Method

MOV = dict.fromkeys(('key', 'intermediate'), adapters.MoV)
# What a run says that trained everything, and does not name its network.
DESCRIPTION = Description(Method('.*', {}), NO_BASE)


def model(sites=None, scan_layers=False, layers=2, **arguments):
  """A model of two encoder layers and one decoder layer."""
  config = T5Config(
    vocab_size=384,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    num_encoder_layers=layers,
    num_decoder_layers=1,
    scan_layers=scan_layers,
    adapters=MOV if sites is None else sites,
  )
  return EncoderDecoderModel(Transformer(config), **arguments)


@functools.cache
def base_params(seed=0):
  """Random parameters of the network without adapters, on the host."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    name = path[-1].key
    if name == 'scale':
      return np.ones(leaf.shape, np.float32)
    deviation = 1.0 if name == 'embedding' else leaf.shape[0] ** -0.5
    return rng.normal(0, deviation, leaf.shape).astype(np.float32)

  shapes = model({}).abstract_variables()['params']
  return jax.tree_util.tree_map_with_path(draw, shapes)


def save_base(folder, seed=0):
  """Writes a float32 base; returns its folder as a string."""
  base_folder.save_base(str(folder), base_params(seed), {'seed': seed})
  return str(folder)


def batch(rows=8, seed=0, length=12):
  """Rows whose target repeats the first input id; padded at the end."""
  rng = np.random.default_rng(seed)
  inputs = rng.integers(3, 20, (rows, length)).astype(np.int32)
  inputs[:, -2:] = 0
  targets = np.zeros((rows, 6), np.int32)
  for row in range(rows):
    count = 1 + row % 3
    targets[row, :count] = inputs[row, 0]
    targets[row, count] = 1
  shifted = np.zeros_like(targets)
  shifted[:, 1:] = targets[:, :-1]
  return {
    'encoder_input_tokens': inputs,
    'decoder_input_tokens': shifted,
    'decoder_target_tokens': targets,
    'decoder_loss_weights': (targets > 0).astype(np.int32),
  }


def choice_batch(rows=4, choices=3, seed=0):
  """Rows with 2 or 3 choices of 2 to 4 tokens; the last of some fills up."""
  rng = np.random.default_rng(seed)
  targets = np.zeros((rows, choices, 5), np.int32)
  for row in range(rows):
    for choice in range(choices - row % 2):
      length = 1 + (row + choice) % 3
      targets[row, choice, :length] = rng.integers(3, 20, length)
      targets[row, choice, length] = 1
  is_right = np.zeros((rows, choices), np.int32)
  is_right[np.arange(rows), np.arange(rows) % 2] = 1
  shifted = np.pad(targets, ((0, 0), (0, 0), (1, 0)))[..., :-1]
  return {
    'encoder_input_tokens': batch(rows, seed)['encoder_input_tokens'],
    'decoder_input_tokens': shifted,
    'decoder_target_tokens': targets,
    'choice_is_right': is_right,
  }
