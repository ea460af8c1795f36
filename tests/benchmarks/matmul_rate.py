"""Measures how fast the device multiplies matrices, in operations a second.

python -m tests.benchmarks.matmul_rate [--side=8192] [--type=bfloat16]
"""

import json
import statistics
import time

import jax
import jax.numpy as jnp
from absl import app, flags

SIDE = flags.DEFINE_integer('side', 8192, 'The side of square matrices.')
TYPE = flags.DEFINE_string('type', 'bfloat16', 'Their type.')
PRODUCTS = 8


def main(argv: list[str]) -> None:
  del argv
  side = SIDE.value
  x = jax.random.normal(jax.random.key(0), (side, side)).astype(TYPE.value)

  @jax.jit
  def multiply(x: jax.Array) -> jax.Array:
    for _ in range(PRODUCTS):
      x = jnp.matmul(x, x / side)
    return x

  multiply(x).block_until_ready()
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    multiply(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  rate = PRODUCTS * 2 * side**3 / statistics.median(seconds)
  line = {
    'device': jax.devices()[0].device_kind,
    'type': TYPE.value,
    'tflop_a_second': round(rate / 1e12, 3),
  }
  print(json.dumps(line))


if __name__ == '__main__':
  app.run(main)
