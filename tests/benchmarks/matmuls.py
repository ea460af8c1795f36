"""What the matmuls of a training step take alone, in XLA and in PyTorch.

  python -m tests.benchmarks.matmuls [--methods=full,ia3] [--repeats=7]

takes the flags of `train_step` for the sizes. It finds every matmul of the
step's program, and times each shape by itself in both libraries, on operands
that lie as the library likes them. A step takes at least their sum. The
libraries take turns of all shapes. There is a pause between the turns, because
threads of PyTorch spin for a while when they have no more work. Needs torch.
Nothing is asserted.
"""

import collections
import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import torch
from absl import app
from jax.extend import core
from jax.interpreters import partial_eval

from moe_lite.core import parameters
from moe_lite.preflight.flops import subprograms
from moe_lite.process import allocator
from tests.benchmarks import train_step
from tests.benchmarks.contestant import Sizes

# (how many products, rows, terms of a sum, columns)
Shape = tuple[int, int, int, int]


def shapes_of(jaxpr: core.Jaxpr, times: int = 1) -> Iterator[tuple[Shape, int]]:
  """Yields the shape of every matmul, and how often it runs."""
  for equation in jaxpr.eqns:
    params = equation.params
    if equation.primitive.name == 'dot_general':
      (terms, _), (batched, _) = params['dimension_numbers']
      left, right = (x.aval.shape for x in equation.invars)
      product = lambda axes, shape=left: math.prod(shape[i] for i in axes)
      batch, inner = product(batched), product(terms)
      rows = math.prod(left) // batch // inner
      columns = math.prod(right) // batch // inner
      yield (batch, rows, inner, columns), times
    often = params['length'] if equation.primitive.name == 'scan' else 1
    for program in subprograms(params):
      yield from shapes_of(program, times * often)


def shapes_of_step(method: str, sizes: Sizes) -> collections.Counter[Shape]:
  """The matmuls of the loss and the gradients of a method."""
  model = train_step.make_model(method, sizes)
  is_full = method == 'full'
  pattern = parameters.EVERYTHING if is_full else parameters.TRAINABLE_ADAPTERS
  params = model.abstract_variables()['params']
  trainable, base = parameters.split(params, pattern)
  batch = train_step.make_batch(sizes)

  def gradients(trainable: Any, base: Any) -> Any:
    loss = lambda t: model.loss_fn(parameters.merge(t, base), batch)[0]
    return jax.grad(loss)(trainable)

  # What nothing needs, the compiler drops.
  program = jax.make_jaxpr(gradients)(trainable, base)
  used, _ = partial_eval.dce_jaxpr(
    program.jaxpr, [True] * len(program.jaxpr.outvars)
  )
  found: collections.Counter[Shape] = collections.Counter()
  for shape, times in shapes_of(used):
    found[shape] += times
  return found


def in_xla(shape: Shape) -> Callable[[], Any]:
  batch, rows, terms, columns = shape
  left = jnp.ones((batch, rows, terms)[batch == 1 :])
  right = jnp.ones((batch, terms, columns)[batch == 1 :])
  multiply = jax.jit(jnp.matmul)
  return lambda: multiply(left, right).block_until_ready()


def in_torch(shape: Shape) -> Callable[[], Any]:
  batch, rows, terms, columns = shape
  left = torch.ones((batch, rows, terms)[batch == 1 :])
  right = torch.ones((batch, terms, columns)[batch == 1 :])
  return functools.partial(torch.matmul, left, right)


def measure(
  steps: Mapping[str, Mapping[Shape, Callable[[], Any]]], repeats: int
) -> dict[str, dict[Shape, float]]:
  """The median seconds of each shape in each library."""
  times = {x: {shape: [] for shape in of} for x, of in steps.items()}
  for i in range(repeats):
    for library in sorted(steps, reverse=bool(i % 2)):
      time.sleep(0.3)
      for shape, step in steps[library].items():
        step()
        start = time.perf_counter()
        step()
        times[library][shape].append(time.perf_counter() - start)
  return {
    library: {shape: statistics.median(t) for shape, t in of.items()}
    for library, of in times.items()
  }


def main(argv: list[str]) -> None:
  del argv
  allocator.keep_freed()
  flags = (
    *(train_step.BATCH, train_step.INPUT_LENGTH, train_step.TARGET_LENGTH),
    *(train_step.EMB_DIM, train_step.MLP_DIM, train_step.NUM_HEADS),
    *(train_step.HEAD_DIM, train_step.VOCAB_SIZE, train_step.NUM_LAYERS),
  )
  sizes = Sizes(*(flag.value for flag in flags))
  counts = {m: shapes_of_step(m, sizes) for m in train_step.METHODS.value}
  shapes = sorted(set().union(*counts.values()))
  steps = {
    'xla': {shape: in_xla(shape) for shape in shapes},
    'torch': {shape: in_torch(shape) for shape in shapes},
  }
  seconds = measure(steps, train_step.REPEATS.value)
  for method, count in counts.items():
    total = {
      library: sum(n * seconds[library][shape] for shape, n in count.items())
      for library in steps
    }
    flop = sum(2 * n * math.prod(shape) for shape, n in count.items())
    line = {
      'method': method,
      'gflop': round(flop / 1e9, 1),
      'xla_ms': round(1e3 * total['xla'], 1),
      'torch_ms': round(1e3 * total['torch'], 1),
      'xla_over_torch': round(total['xla'] / total['torch'], 3),
    }
    print(json.dumps(line), flush=True)
  for shape in shapes:
    work = 2 * math.prod(shape) / 1e9
    line = {
      'shape': shape,
      **{method: count[shape] for method, count in counts.items()},
      'xla_gflop_a_second': round(work / seconds['xla'][shape], 1),
      'torch_gflop_a_second': round(work / seconds['torch'][shape], 1),
    }
    print(json.dumps(line), flush=True)


if __name__ == '__main__':
  app.run(main)
