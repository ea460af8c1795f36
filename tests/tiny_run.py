"""A tiny model, base, run and suite on disk, for tests of what reads them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import seqio
import tensorflow as tf

from moe_lite import adapters
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import parameters
from moe_lite.data import catalog
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer
from moe_lite.t5.description import describe_run

VOCABULARY = seqio.ByteVocabulary()
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
}
LENGTHS = {'inputs': 16, 'targets': 8}
STEP = 7
ANSWERS = ('yes', 'no', 'maybe')


def model(num_experts=2, **changes):
  """MoV at one site of a network as small as it gets."""
  config = T5Config(
    **{
      'vocab_size': 384,
      'emb_dim': 8,
      'num_heads': 2,
      'head_dim': 4,
      'mlp_dim': 16,
      'num_encoder_layers': 1,
      'num_decoder_layers': 1,
      'adapters': {
        'key': functools.partial(adapters.MoV, num_experts=num_experts)
      },
      **changes,
    }
  )
  return EncoderDecoderModel(Transformer(config))


def draw(seed=0):
  """All parameters of `model()`, the adapters away from the identity."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: rng.normal(0.5, 1, leaf.shape).astype(leaf.dtype),
    model().abstract_variables()['params'],
  )


def write(folder, scale=1.0):
  """Writes a base and a run that stands on it; returns their paths.

  What the run trained is multiplied by `scale`.
  """
  trainable, frozen = parameters.split(draw(), parameters.TRAINABLE_ADAPTERS)
  base_path, run_path = folder / 'base', folder / 'run'
  save_base(str(base_path), frozen, {})
  trainable = jax.tree.map(lambda x: jnp.asarray(scale * x), trainable)
  checkpoints = Checkpoints(str(run_path))
  checkpoints.save(
    STEP,
    trainable,
    {'count': jnp.int32(STEP)},
    {},
    Description(
      describe_run(model().module.config, parameters.TRAINABLE_ADAPTERS),
      BaseInfo(str(base_path), parameters.fingerprint(frozen)),
    ),
  )
  checkpoints.close()
  return str(base_path), str(run_path)


def add_task(name, columns, metric_fns=(), postprocess_fn=None, **info):
  """Registers a task of validation rows, and its catalog entry if given."""
  spec = {key: tf.constant(values) for key, values in columns.items()}
  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(
      lambda split, shuffle_files, seed=None: (
        tf.data.Dataset.from_tensor_slices(spec)
      ),
      splits=('validation',),
    ),
    preprocessors=(
      seqio.preprocessors.tokenize,
      seqio.preprocessors.append_eos,
    ),
    output_features=FEATURES,
    metric_fns=list(metric_fns),
    postprocess_fn=postprocess_fn,
  )
  if info:
    catalog.add(
      catalog.TaskInfo(
        **{
          'name': name.removesuffix(catalog.SCORE_EVAL),
          'cluster': 'cluster',
          'template': name,
          'chance': None,
          'held_out': True,
          **info,
        }
      )
    )


def score_columns(seed, num_examples=6, num_choices=2):
  """Columns of a `_score_eval` task, choices in reverse order."""
  rng = np.random.default_rng(seed)
  columns = {
    key: [] for key in ('idx', 'inputs', 'targets', 'is_correct', 'weight')
  }
  for example in range(num_examples):
    correct = rng.integers(num_choices)
    text = ''.join(rng.choice(list('abcdef'), rng.integers(3, 12)))
    for choice in reversed(range(num_choices)):
      columns['idx'].append([example, choice])
      columns['inputs'].append(text)
      columns['targets'].append(ANSWERS[choice])
      columns['is_correct'].append(bool(choice == correct))
      columns['weight'].append(1.0)
  return columns


@functools.cache
def add_suite():
  """Registers `tiny_score_eval`: two data sets of 2 and 3 prompts."""
  names = []
  seeds = itertools.count()
  for dataset, prompts, choices in (('pair', 2, 2), ('triple', 3, 3)):
    for prompt in range(prompts):
      names.append(f'tiny_{dataset}_{prompt}{catalog.SCORE_EVAL}')
      columns = score_columns(next(seeds), num_choices=choices)
      add_task(names[-1], columns, dataset=f'tiny_{dataset}')
  seqio.MixtureRegistry.add('tiny_score_eval', names, default_rate=1.0)
  return names
