"""Times one training step of each method; prints a line of JSON for each.

  python -m tests.benchmarks.train_step [--peer] [--methods=ia3,mov]

README.md beside this file says what the numbers are. Nothing is asserted.
"""

import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from moe_lite import adapters
from moe_lite.core import parameters, partitioning
from moe_lite.core.types import Tree
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import allocator
from moe_lite.t5 import T5Config, Transformer
from moe_lite.training import optimizers, train_step
from tests.benchmarks.contestant import (
  Contestant,
  Sizes,
  interleave,
  median_ratio,
)

_METHODS = ['full', 'ia3', 'lora', 'mov', 'molora']
IA3_SITES = ('key', 'value', 'intermediate')
LORA_SITES = ('query', 'key', 'value', 'out', 'wi_0', 'wo')

METHODS = flags.DEFINE_list('methods', _METHODS, f'Of {", ".join(_METHODS)}.')
PEER = flags.DEFINE_bool(
  'peer', False, 'Also time Hugging Face T5 + PEFT; needs the extra `hf`.'
)
KEEP_FREED = flags.DEFINE_bool(
  'keep_freed', True, 'Keep the memory that a step frees, as commands do.'
)
REPEATS = flags.DEFINE_integer('repeats', 15, 'Timed steps of each method.')
DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ('float32', 'bfloat16'), 'Of activations and base.'
)
NUM_EXPERTS = flags.DEFINE_integer('num_experts', 10, 'E of mov and molora.')
RANK = flags.DEFINE_integer('rank', 4, 'R of lora, and of each molora expert.')
SCAN_LAYERS = flags.DEFINE_bool('scan_layers', False, 'Scan over layers.')
REMAT = flags.DEFINE_string('remat', 'none', 'none, minimal or full.')
BATCH = flags.DEFINE_integer('batch', 8, 'Examples.')
INPUT_LENGTH = flags.DEFINE_integer('input_length', 128, 'Encoder positions.')
TARGET_LENGTH = flags.DEFINE_integer('target_length', 32, 'Decoder positions.')
EMB_DIM = flags.DEFINE_integer('emb_dim', 512, 'D.')
MLP_DIM = flags.DEFINE_integer('mlp_dim', 1024, 'F.')
NUM_HEADS = flags.DEFINE_integer('num_heads', 8, 'H.')
HEAD_DIM = flags.DEFINE_integer('head_dim', 64, 'K.')
VOCAB_SIZE = flags.DEFINE_integer('vocab_size', 32128, 'V.')
NUM_LAYERS = flags.DEFINE_integer('num_layers', 6, 'Of encoder and decoder.')

LEARNING_RATE = 1e-3


def method_adapters(method: str) -> adapters.Adapters:
  """What stands where, as in gin/methods."""
  experts = NUM_EXPERTS.value
  factories = {
    'ia3': adapters.IA3,
    'mov': functools.partial(adapters.MoV, num_experts=experts),
    'lora': functools.partial(adapters.LoRA, rank=RANK.value),
    'molora': functools.partial(
      adapters.MoLoRA, num_experts=experts, rank=RANK.value
    ),
  }
  if method == 'full':
    return {}
  sites = LORA_SITES if method.endswith('lora') else IA3_SITES
  return dict.fromkeys(sites, factories[method])


def make_model(method: str, sizes: Sizes) -> EncoderDecoderModel:
  """T5 1.1 of these sizes, with the method's adapters."""
  config = T5Config(
    vocab_size=sizes.vocab_size,
    emb_dim=sizes.emb_dim,
    num_heads=sizes.num_heads,
    head_dim=sizes.head_dim,
    mlp_dim=sizes.mlp_dim,
    num_encoder_layers=sizes.num_layers,
    num_decoder_layers=sizes.num_layers,
    dtype=DTYPE.value,
    scan_layers=SCAN_LAYERS.value,
    remat=REMAT.value,
    adapters=method_adapters(method),
  )
  return EncoderDecoderModel(Transformer(config))


def make_batch(sizes: Sizes) -> dict[str, np.ndarray]:
  """Random tokens without padding."""
  rng = np.random.default_rng(0)
  draw = lambda length: rng.integers(
    2, sizes.vocab_size, (sizes.batch, length), np.int32
  )
  inputs, targets = draw(sizes.input_length), draw(sizes.target_length)
  return {
    'encoder_input_tokens': inputs,
    'decoder_target_tokens': targets,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_loss_weights': np.ones_like(targets),
  }


def make_base(sizes: Sizes) -> Tree:
  """Random weights, which every method shares."""
  rng = np.random.default_rng(0)
  draw = lambda leaf: jnp.asarray(
    0.05 * rng.standard_normal(leaf.shape, np.float32), DTYPE.value
  )
  return jax.tree.map(
    draw, make_model('full', sizes).abstract_variables()['params']
  )


def contestant(
  method: str, sizes: Sizes, base: Tree, batch: dict[str, np.ndarray]
) -> Contestant:
  """The library's own training step, compiled."""
  model = make_model(method, sizes)
  pattern = (
    parameters.EVERYTHING if method == 'full' else parameters.TRAINABLE_ADAPTERS
  )
  schedule = optimizers.constant(LEARNING_RATE)
  optimizer = optimizers.adamw(schedule, clipping_threshold=None)
  where = layout.layout(model, pattern, partitioning.make_mesh((1, 1)))
  abstract = train_step.abstract_state(optimizer, pattern, where)
  state = train_step.init_state(model, optimizer, abstract, seed=0)
  base = jax.device_put({} if method == 'full' else base, where.replicated)
  batch = jax.device_put(batch, partitioning.batch_sharding(where.mesh))
  start = time.perf_counter()
  compiled = train_step.compile_step(
    train_step.make_step(model, optimizer, schedule), state, base, batch, where
  )
  compile_time = time.perf_counter() - start

  def step() -> float:
    nonlocal state
    state, metrics = compiled(state, base, batch)
    return float(metrics['loss'])

  memory = compiled.memory_analysis()
  return Contestant(
    'moe_lite',
    method,
    step,
    {
      'trainable': parameters.count(state.trainable),
      'compile_s': round(compile_time, 1),
      'temporary_mib': round(memory.temp_size_in_bytes / 2**20, 1),
      'gflop': round(compiled.cost_analysis()['flops'] / 1e9, 1),
    },
  )


def environment() -> dict[str, str]:
  """Versions, device, and what the step was."""
  facts = {
    name: importlib.metadata.version(name) for name in ('jax', 'flax', 'optax')
  }
  return {
    'python': platform.python_version(),
    **facts,
    'device': jax.devices()[0].device_kind,
    'cores': str(os.cpu_count()),
    'dtype': DTYPE.value,
    'optimizer': 'adamw',
  }


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected arguments: {argv[1:]}.')
  if unknown := set(METHODS.value) - set(_METHODS):
    raise app.UsageError(f'--methods: {unknown} must be of {_METHODS}.')
  if KEEP_FREED.value:
    allocator.keep_freed()
  sizes = Sizes(
    batch=BATCH.value,
    input_length=INPUT_LENGTH.value,
    target_length=TARGET_LENGTH.value,
    emb_dim=EMB_DIM.value,
    mlp_dim=MLP_DIM.value,
    num_heads=NUM_HEADS.value,
    head_dim=HEAD_DIM.value,
    vocab_size=VOCAB_SIZE.value,
    num_layers=NUM_LAYERS.value,
  )
  batch, base = make_batch(sizes), make_base(sizes)
  contestants = [
    contestant(method, sizes, base, batch) for method in METHODS.value
  ]
  facts = environment()
  if PEER.value:
    from tests.benchmarks import hugging_face

    peers = (
      hugging_face.contestant(
        method, sizes, DTYPE.value, batch, RANK.value, LEARNING_RATE
      )
      for method in METHODS.value
    )
    contestants += [peer for peer in peers if peer is not None]
    facts.update(hugging_face.versions())
  load = os.getloadavg()[0]
  times = interleave(contestants, REPEATS.value)
  by_name = {
    (c.library, c.method): seconds
    for c, seconds in zip(contestants, times, strict=True)
  }
  for one, seconds in zip(contestants, times, strict=True):
    ratios = {}
    if one.method != 'ia3' and (one.library, 'ia3') in by_name:
      ratios['over_ia3'] = median_ratio(seconds, by_name[one.library, 'ia3'])
    for (library, method), others in by_name.items():
      if library != one.library == 'moe_lite' and method == one.method:
        ratios['over_peer'] = median_ratio(seconds, others)
    line = {
      'library': one.library,
      'method': one.method,
      'median_ms': round(1e3 * statistics.median(seconds), 1),
      'least_ms': round(1e3 * min(seconds), 1),
      **ratios,
      **one.facts,
      'sizes': dataclasses.asdict(sizes),
      'load_average': [round(load, 1), round(os.getloadavg()[0], 1)],
      **facts,
    }
    print(json.dumps(line), flush=True)


if __name__ == '__main__':
  app.run(main)
