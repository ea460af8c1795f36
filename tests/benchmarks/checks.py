"""What the checks of what is read cost: loading a base, a batch, a checkpoint.

Each time is taken in turn with and without the check, several times over.
"""

import argparse
import contextlib
import json
import pathlib
import tempfile
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.checkpoints import base_folder, bases
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.core import integrity, parameters
from moe_lite.core.features import ID_FEATURES
from moe_lite.data.faults import check_ids

VOCAB_SIZE = 32_128


def write(folder: str, gigabytes: float) -> dict:
  """Writes a base of bfloat16 matrices of T5-XL's sizes; returns its shapes."""
  shape = (2048, 5120)
  count = max(int(gigabytes * 2**30 / 2 / np.prod(shape)), 1)
  rng = np.random.default_rng(0)
  leaf = rng.normal(size=shape).astype(jnp.bfloat16)
  leaves = {
    f'encoder/layers_{i}/mlp/wi_0/kernel': leaf + jnp.bfloat16(i % 7)
    for i in range(count)
  }
  save_base(folder, parameters.unflatten(leaves), {})
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return {
    name: jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=place)
    for name in leaves
  }


@contextlib.contextmanager
def without_checks():
  """Leaves out what compares, and what looks for NaN.

  The fingerprint of the base is computed nevertheless, as a run records it.
  """
  with (
    mock.patch.object(integrity, 'check_finite', lambda *_: None),
    mock.patch.object(integrity, 'check_same', lambda *_: None),
    mock.patch.object(type(base_folder.FOLDER), 'digests', lambda *_: None),
  ):
    yield


def seconds(function) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def in_pairs(function, rounds: int) -> dict[str, float]:
  """The median time with and without checks, and that of their ratios."""
  checked, bare = [], []
  for i in range(rounds):
    for with_checks in (i % 2 == 0, i % 2 == 1):
      context = contextlib.nullcontext() if with_checks else without_checks()
      with context:
        (checked if with_checks else bare).append(seconds(function))
  ratios = [a / b for a, b in zip(checked, bare, strict=True)]
  return {
    'checked_s': round(float(np.median(checked)), 3),
    'bare_s': round(float(np.median(bare)), 3),
    'ratio': round(float(np.median(ratios)), 4),
  }


def loading(gigabytes: float, rounds: int) -> dict[str, float]:
  with tempfile.TemporaryDirectory() as folder:
    path = str(pathlib.Path(folder) / 'base')
    wanted = parameters.unflatten(write(path, gigabytes))

    def load() -> None:
      jax.block_until_ready(bases.load_base(path, wanted)[0])

    load()
    return in_pairs(load, rounds)


def batch(rounds: int) -> dict[str, float]:
  """A batch of the paper's size: 32 rows of 1024 and 256 tokens."""
  rng = np.random.default_rng(0)
  rows = {
    name: rng.integers(0, VOCAB_SIZE, (32, 1024 if 'encoder' in name else 256))
    for name in ID_FEATURES
  }
  times = [
    seconds(lambda: check_ids(rows, VOCAB_SIZE, 'A batch'))
    for _ in range(100 * rounds)
  ]
  return {'milliseconds': round(1000 * float(np.median(times)), 4)}


def checkpoint(rounds: int) -> dict[str, float]:
  """The checksums of MoV-30 in T5-XL: 24 + 24 layers, and AdamW's moments."""
  rng = np.random.default_rng(0)
  leaves = {}
  for layer in range(48):
    for site, size in (('key', 2048), ('value', 2048), ('intermediate', 5120)):
      for slot in ('', '_mu', '_nu'):
        name = f'layers_{layer}/{site}_adapter{slot}'
        leaves[f'{name}/scale'] = rng.normal(size=(30, size)).astype('f4')
        leaves[f'{name}/router'] = rng.normal(size=(2048, 30)).astype('f4')
  tree = jax.device_put(parameters.unflatten(leaves))
  first = seconds(lambda: integrity.checksums(tree))
  later = [seconds(lambda: integrity.checksums(tree)) for _ in range(rounds)]
  return {
    'leaves': len(leaves),
    'megabytes': round(sum(x.nbytes for x in leaves.values()) / 2**20),
    'first_s': round(first, 3),
    'later_s': round(float(np.median(later)), 3),
  }


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--gigabytes', type=float, default=3.0)
  parser.add_argument('--rounds', type=int, default=5)
  arguments = parser.parse_args()
  found = {
    'loading': loading(arguments.gigabytes, arguments.rounds),
    'batch': batch(arguments.rounds),
    'checkpoint': checkpoint(arguments.rounds),
  }
  print(json.dumps(found, indent=2))


if __name__ == '__main__':
  main()
