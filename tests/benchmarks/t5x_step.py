"""Our method under T5X, beside T5X's own model and whole checkpoints.

  PYTHON -m tests.benchmarks.t5x_step        on T5 1.1 small, run
  PYTHON -m tests.benchmarks.t5x_step --xl   on T5 1.1 XL, compiled alone

with an interpreter that has T5X. The first prints a line of JSON each: bytes of
a checkpoint on disk, time of a step (in turn, in one process), the state and
the compiled step's scratch memory, for MoV-10 with random weights. The second
compiles the step for four devices, (data, model) = (2, 2), with and without our
constraints on activations. Nothing is asserted.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import statistics
import sys
import tempfile
import unittest.mock

import jax
import numpy as np
import seqio
import t5x.adafactor
import t5x.checkpoints
import t5x.models
import t5x.trainer
import t5x.utils

from moe_lite import adapters
from moe_lite.checkpoints.description import NO_BASE, Description
from moe_lite.core import parameters, partitioning
from moe_lite.integrations import t5x as integration
from moe_lite.integrations import t5x_checkpoints
from moe_lite.preflight import hlo, traffic
from moe_lite.t5 import T5Config, Transformer
from moe_lite.t5.method import Method
from tests.benchmarks.contestant import Contestant, interleave

IS_XL = '--xl' in sys.argv
BATCH, INPUTS, TARGETS, STEPS = 8, 128, 32, 10
PATTERN = parameters.TRAINABLE_ADAPTERS
SMALL = T5Config(
  vocab_size=32128,
  emb_dim=512,
  num_heads=6,
  head_dim=64,
  mlp_dim=1024,
  num_encoder_layers=8,
  num_decoder_layers=8,
  adapters=dict.fromkeys(
    ('key', 'value', 'intermediate'),
    functools.partial(adapters.MoV, num_experts=10),
  ),
)
XL = dataclasses.replace(
  SMALL,
  emb_dim=2048,
  num_heads=32,
  mlp_dim=5120,
  num_encoder_layers=24,
  num_decoder_layers=24,
  dtype='bfloat16',
  scan_layers=True,
  remat='minimal',
)


def held(base_dtype, path, leaf):
  """A parameter as `Checkpointer` restores it."""
  if parameters.is_adapter(
    jax.tree_util.keystr(path, simple=True, separator='/')
  ):
    return leaf
  if isinstance(leaf, jax.ShapeDtypeStruct):
    return jax.ShapeDtypeStruct(leaf.shape, base_dtype)
  return leaf.astype(base_dtype)


def compiled(config, model_class, batch, base_dtype, mesh=None, **arguments):
  """A compiled step, and the shapes of its state."""
  vocabulary = seqio.ByteVocabulary()
  model = model_class(
    module=Transformer(config),
    input_vocabulary=vocabulary,
    output_vocabulary=vocabulary,
    optimizer_def=integration.train_only(
      t5x.adafactor.Adafactor(
        decay_rate=0.8, logical_factor_rules=integration.factor_rules()
      ),
      PATTERN,
    ),
    z_loss=1e-4,
    **arguments,
  )
  partitioner = integration.Partitioner(mesh)
  initializer = t5x.utils.TrainStateInitializer(
    optimizer_def=model.optimizer_def,
    init_fn=model.get_initial_variables,
    input_shapes={name: x.shape for name, x in batch.items()},
    input_types={name: x.dtype for name, x in batch.items()},
    partitioner=partitioner,
  )
  if mesh is None:
    state = initializer.from_scratch(jax.random.PRNGKey(0))
  else:
    state = initializer.global_train_state_shape
  state = state.replace_params(
    jax.tree_util.tree_map_with_path(
      functools.partial(held, base_dtype), state.params
    )
  )
  trainer = t5x.trainer.Trainer(
    model=model,
    train_state=state,
    partitioner=partitioner,
    eval_names=[],
    summary_dir=None,
    train_state_axes=initializer.train_state_axes,
    rng=jax.random.PRNGKey(0),
    learning_rate_fn=lambda step: 3e-4,
    num_microbatches=None,
  )
  program = partitioner.compile(trainer._partitioned_train_step, state, batch)
  return program, state, partitioner


def contestant(name, is_ours, base_dtype, batch):
  """A step of T5 small, and what one of its checkpoints weighs."""
  model = integration if is_ours else t5x.models
  arguments = {'trainable': PATTERN} if is_ours else {}
  program, state, partitioner = compiled(
    SMALL, model.EncoderDecoderModel, batch, base_dtype, **arguments
  )
  memory = program.memory_analysis()

  def step():
    nonlocal state
    state, _ = program(state, batch)
    jax.block_until_ready(state.step)

  # Of trained values: initial ones are all alike and compress to nothing.
  step()
  save = functools.partial(
    t5x_checkpoints.save,
    trainable=PATTERN,
    said=Description(Method(PATTERN, {}), NO_BASE),
  )
  with tempfile.TemporaryDirectory() as folder:
    saver = t5x.checkpoints.Checkpointer(state, partitioner, folder)
    saver.save(state, state_transformation_fns=[save] if is_ours else [])
    files = (p for p in pathlib.Path(folder).rglob('*') if p.is_file())
    size = sum(p.stat().st_size for p in files)
  facts = {
    'checkpoint_mib': round(size / 2**20, 2),
    'state_mib': round(memory.argument_size_in_bytes / 2**20, 1),
    'temporary_mib': round(memory.temp_size_in_bytes / 2**20, 1),
  }
  return Contestant(name, 'mov', step, facts)


def draw(batch, inputs, targets):
  rng = np.random.default_rng(0)
  ids = lambda length: rng.integers(2, 250, (batch, length), np.int32)
  after = ids(targets)
  return {
    'encoder_input_tokens': ids(inputs),
    'decoder_target_tokens': after,
    'decoder_input_tokens': np.pad(after, ((0, 0), (1, 0)))[:, :-1],
    'decoder_loss_weights': np.ones_like(after),
  }


def time_small() -> None:
  batch = draw(BATCH, INPUTS, TARGETS)
  contestants = [
    contestant('t5x alone', False, 'float32', batch),
    contestant('ours, float32 base', True, 'float32', batch),
    contestant('ours, bfloat16 base', True, 'bfloat16', batch),
  ]
  times = interleave(contestants, STEPS)
  for one, seconds in zip(contestants, times, strict=True):
    median = round(1e3 * statistics.median(seconds), 1)
    facts = {'library': one.library, 'median_ms': median, **one.facts}
    print(json.dumps({**facts, 'cores': os.cpu_count()}), flush=True)


def compile_xl() -> None:
  batch = draw(32, 512, 128)
  unconstrained = unittest.mock.patch.object(
    partitioning, 'constrain', lambda x, axes: x
  )
  for base_dtype in ('float32', 'bfloat16'):
    for constrains in (True, False):
      with contextlib.nullcontext() if constrains else unconstrained:
        program, _, _ = compiled(
          *(XL, integration.EncoderDecoderModel, batch, base_dtype, (2, 2)),
          trainable=PATTERN,
        )
      memory = program.memory_analysis()
      facts = {
        'base': base_dtype,
        'constraints': constrains,
        'state_gib': round(memory.argument_size_in_bytes / 2**30, 2),
        'temporary_gib': round(memory.temp_size_in_bytes / 2**30, 2),
        'collectives': traffic.collectives(hlo.parse(program.as_text())),
      }
      print(json.dumps(facts), flush=True)


if __name__ == '__main__':
  compile_xl() if IS_XL else time_small()
