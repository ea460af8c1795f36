"""Our method under T5X, beside T5X's own model and whole checkpoints.

  PYTHON -m tests.benchmarks.t5x_step

with an interpreter that has T5X. Prints a line of JSON each: bytes of a
checkpoint on disk, time of a step (in turn, in one process) and the compiled
step's scratch memory, for MoV-10 on T5 1.1 small with random weights. Nothing
is asserted.
"""

import functools
import json
import os
import pathlib
import statistics
import tempfile

import jax
import numpy as np
import seqio
import t5x.adafactor
import t5x.checkpoints
import t5x.models
import t5x.partitioning
import t5x.trainer
import t5x.utils

from moe_lite import adapters
from moe_lite.core import parameters
from moe_lite.integrations import t5x as integration
from moe_lite.t5 import T5Config, Transformer
from tests.benchmarks.contestant import Contestant, interleave

BATCH, INPUTS, TARGETS, STEPS = 8, 128, 32, 10
NETWORK = Transformer(
  T5Config(
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
)


def contestant(name, model_class, save_fns, batch, **arguments):
  """A compiled step, and what one of its checkpoints weighs."""
  vocabulary = seqio.ByteVocabulary()
  model = model_class(
    module=NETWORK,
    input_vocabulary=vocabulary,
    output_vocabulary=vocabulary,
    optimizer_def=integration.train_only(
      t5x.adafactor.Adafactor(
        decay_rate=0.8, logical_factor_rules=integration.factor_rules()
      ),
      parameters.TRAINABLE_ADAPTERS,
    ),
    z_loss=1e-4,
    **arguments,
  )
  partitioner = t5x.partitioning.PjitPartitioner(
    num_partitions=1,
    logical_axis_rules=t5x.partitioning.standard_logical_axis_rules(
      additional_rules=[('expert', None), ('rank', None)]
    ),
  )
  initializer = t5x.utils.TrainStateInitializer(
    optimizer_def=model.optimizer_def,
    init_fn=model.get_initial_variables,
    input_shapes={name: x.shape for name, x in batch.items()},
    input_types={name: x.dtype for name, x in batch.items()},
    partitioner=partitioner,
  )
  state = initializer.from_scratch(jax.random.PRNGKey(0))
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
  trainer.compile_train(batch)
  memory = trainer._compiled_train_step.memory_analysis()

  def step():
    nonlocal state
    state, _ = trainer._compiled_train_step(state, batch)
    jax.block_until_ready(state.step)

  # Of trained values: initial ones are all alike and compress to nothing.
  step()
  with tempfile.TemporaryDirectory() as folder:
    saver = t5x.checkpoints.Checkpointer(state, partitioner, folder)
    saver.save(state, state_transformation_fns=save_fns)
    files = (p for p in pathlib.Path(folder).rglob('*') if p.is_file())
    size = sum(p.stat().st_size for p in files)
  facts = {
    'checkpoint_mib': round(size / 2**20, 2),
    'temporary_mib': round(memory.temp_size_in_bytes / 2**20, 1),
  }
  return Contestant(name, 'mov', step, facts)


def main() -> None:
  rng = np.random.default_rng(0)
  draw = lambda length: rng.integers(2, 250, (BATCH, length), np.int32)
  targets = draw(TARGETS)
  batch = {
    'encoder_input_tokens': draw(INPUTS),
    'decoder_target_tokens': targets,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_loss_weights': np.ones_like(targets),
  }
  trainable = parameters.TRAINABLE_ADAPTERS
  save = functools.partial(integration.save_trainable, trainable=trainable)
  contestants = [
    contestant(
      'moe_lite.integrations.t5x',
      integration.EncoderDecoderModel,
      [save],
      batch,
      trainable=trainable,
    ),
    contestant('t5x alone', t5x.models.EncoderDecoderModel, [], batch),
  ]
  times = interleave(contestants, STEPS)
  for one, seconds in zip(contestants, times, strict=True):
    median = round(1e3 * statistics.median(seconds), 1)
    facts = {'library': one.library, 'median_ms': median, **one.facts}
    print(json.dumps({**facts, 'cores': os.cpu_count()}), flush=True)


if __name__ == '__main__':
  main()
