"""Adapters as a run's would be exported, for the shipped base or a tiny one."""

import dataclasses
import functools

import jax
import numpy as np

from moe_lite import adapters, routing
from moe_lite.checkpoints import bases, exported, formats
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.metadata import read_metadata
from moe_lite.core import parameters
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from moe_lite.t5.description import describe_run, to_json

# Routed by head and softly, and by token with two of three experts kept.
ADAPTERS = {
  'key': functools.partial(adapters.MoV, num_experts=2),
  'intermediate': functools.partial(
    adapters.MoV, num_experts=3, router=routing.TopKRouter
  ),
}


def model(base='mini', sites=None, **changes):
  """A base's network, with `ADAPTERS` or others."""
  config = dataclasses.replace(
    bases.network(base), adapters=sites or ADAPTERS, **changes
  )
  return EncoderDecoderModel(Transformer(config))


def draw(shapes, seed=0):
  """Random float32 parameters."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: rng.normal(0.7, 0.5, leaf.shape).astype(np.float32), shapes
  )


def write_base(folder):
  """Writes one of two layers that reads the shipped base's ids."""
  said = read_metadata(formats.local('mini'))
  config = dataclasses.replace(
    bases.network('mini'),
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    mlp_dim=16,
    num_encoder_layers=1,
    num_decoder_layers=1,
  )
  tiny = EncoderDecoderModel(Transformer(config))
  kept = {'network': to_json(config), 'text': said['text']}
  params = draw(tiny.abstract_variables()['params'])
  save_base(str(folder), params, kept)
  return str(folder)


def write(
  folder,
  base='mini',
  fingerprint=None,
  vocabulary=None,
  sites=None,
  seed=0,
  trainable=parameters.TRAINABLE_ADAPTERS,
):
  """Writes random adapters for a base; returns the folder.

  Args:
    folder: to write.
    base: its path, or the name of one that ships.
    fingerprint: to claim in place of that of the base.
    vocabulary: see `exported.save`.
    sites: the adapters; None takes `ADAPTERS`.
    seed: the seed of their leaves.
    trainable: the pattern of what trained.
  """
  made = model(base, sites)
  trained, _ = parameters.split(
    draw(made.abstract_variables()['params'], seed), trainable
  )
  if fingerprint is None:
    fingerprint = read_metadata(formats.local(base))['fingerprint']
  description = Description(
    describe_run(made.module.config, trainable),
    BaseInfo(base, fingerprint),
    step=1,
  )
  text = {'inputs_eos': False, 'extra_ids': 32}
  exported.save(str(folder), trained, description, {}, vocabulary, text=text)
  return str(folder)
