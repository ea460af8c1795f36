"""Memory and time to load a base from a T5X checkpoint.

python -m tests.benchmarks.load_base FOLDER [--size=large] [--devices=8]

Writes random parameters of a size of gin/models as a T5X checkpoint in float32
to FOLDER, unless one is there, and loads it as a run would, in scan form:
bfloat16 and int8, on one device and split over several (of fake CPU devices,
whose memory is the host's, so that all shards count). Each load is a process
of its own. Prints a line of JSON for each: the host's peak above what it held
before, and how far that is above the shards, in largest leaves of the
checkpoint.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np
from absl import flags

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters, partitioning
from moe_lite.core.types import Tree
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer

# emb_dim, num_heads, mlp_dim, layers of each stack.
SIZES = {
  'tiny': (64, 8, 128, 2),
  'small': (512, 6, 1024, 8),
  'base': (768, 12, 2048, 12),
  'large': (1024, 16, 2816, 24),
  'xl': (2048, 32, 5120, 24),
}
FLAGS = flags.FlagValues()
flags.DEFINE_enum('size', 'large', list(SIZES), 'Of T5 1.1.', FLAGS)
flags.DEFINE_integer('devices', 8, 'Fake ones.', 1, flag_values=FLAGS)
flags.DEFINE_string('load', '', 'Within: a type.', flag_values=FLAGS)
flags.DEFINE_bool('split', False, 'Within: over the devices.', FLAGS)


def main(argv: list[str]) -> None:
  _, folder = FLAGS(argv)
  if FLAGS.load:
    # What libraries take once, whatever is loaded, is not counted.
    load(folder, 'tiny')
    print(json.dumps(measure(folder)))
    return
  for size in ('tiny', FLAGS.size):
    if not path(folder, size).exists():
      write(path(folder, size), size)
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={FLAGS.devices}',
  }
  for dtype in ('bfloat16', 'int8'):
    for split in (False, True):
      command = [sys.executable, '-m', 'tests.benchmarks.load_base', folder]
      command += [f'--size={FLAGS.size}', f'--devices={FLAGS.devices}']
      command += [f'--load={dtype}', f'--split={split}']
      subprocess.run(command, check=True, env=environment)


def model(size: str) -> EncoderDecoderModel:
  """T5 1.1 of the size, in scan form."""
  emb_dim, num_heads, mlp_dim, layers = SIZES[size]
  config = T5Config(
    vocab_size=32128,
    emb_dim=emb_dim,
    num_heads=num_heads,
    head_dim=64,
    mlp_dim=mlp_dim,
    num_encoder_layers=layers,
    num_decoder_layers=layers,
    scan_layers=True,
  )
  return EncoderDecoderModel(Transformer(config))


def path(folder: str, size: str) -> pathlib.Path:
  return pathlib.Path(folder) / size / 'checkpoint_1000'


def write(checkpoint: pathlib.Path, size: str) -> None:
  """Writes random parameters."""
  shapes = jax.eval_shape(
    parameters.unstack_layers, model(size).abstract_variables()['params']
  )
  rng = np.random.default_rng(0)
  leaves = {
    name: rng.standard_normal(leaf.shape, np.float32)
    for name, leaf in parameters.flatten(shapes).items()
  }
  native.write(str(checkpoint), leaves, 1000)


def shapes(size: str) -> Tree:
  """Of the base as a run holds it, on the devices."""
  devices = jax.devices()[: None if FLAGS.split else 1]
  mesh = partitioning.make_mesh(None, devices)
  where = layout.layout(model(size), parameters.EVERYTHING, mesh, True)
  return where.hold(FLAGS.load)


def load(folder: str, size: str) -> Tree:
  params, _ = bases.load_base(str(path(folder, size)), shapes(size))
  return jax.block_until_ready(params)


def measure(folder: str) -> dict[str, object]:
  sizes = [
    sum(part.size * part.dtype.itemsize for part in jax.tree.leaves(leaf))
    for leaf in parameters.flatten(shapes(FLAGS.size)).values()
  ]
  stored = bases.arrays(str(path(folder, FLAGS.size)))
  largest = max(array.nbytes for array in stored.values())
  before = reset_peak()
  start = time.monotonic()
  params = load(folder, FLAGS.size)
  seconds = time.monotonic() - start
  peak = memory('VmHWM') - before
  del params
  return {
    'size': FLAGS.size,
    'dtype': FLAGS.load,
    'split': FLAGS.split,
    'checkpoint_mib': mib(sum(array.nbytes for array in stored.values())),
    'largest_leaf_mib': mib(largest),
    'shards_mib': mib(sum(sizes)),
    'peak_mib': mib(peak),
    'beyond_shards_in_largest_leaves': round((peak - sum(sizes)) / largest, 2),
    'seconds': round(seconds, 1),
  }


def mib(size: int) -> int:
  return round(size / 2**20)


def memory(field: str) -> int:
  """Bytes by /proc/self/status."""
  status = pathlib.Path('/proc/self/status').read_text()
  return 1024 * int(status.split(f'{field}:')[1].split()[0])


def reset_peak() -> int:
  """Forgets the peak so far; returns what is held now."""
  pathlib.Path('/proc/self/clear_refs').write_text('5')
  return memory('VmRSS')


if __name__ == '__main__':
  main(sys.argv)
