"""Compares losses and gradients on the default device with those on a CPU.

  python -m tests.benchmarks.agreement [--dtypes=float32,bfloat16]

It prints a line of JSON for each method and type. `loss` is the relative
difference of the losses, and `gradient` the norm of the difference of all
gradients of what trains, over their norm. On the CPU everything is in float32.
"""

import json
from typing import Any

import jax
import numpy as np
from absl import app, flags

from moe_lite.core import parameters
from moe_lite.core.types import Tree
from tests.benchmarks import train_step
from tests.benchmarks.contestant import Sizes

DTYPES = flags.DEFINE_list('dtypes', ['float32', 'bfloat16'], 'The types.')
SIZES = Sizes(
  batch=4,
  input_length=256,
  target_length=32,
  emb_dim=256,
  mlp_dim=512,
  num_heads=4,
  head_dim=64,
  vocab_size=1024,
  num_layers=2,
)


def gradients(
  method: str, dtype: str, device: Any, base: Tree, batch: Any
) -> tuple[float, np.ndarray]:
  """The loss of a method, and the gradient by all that trains, in a row."""
  flags.FLAGS.dtype = dtype
  model = train_step.make_model(method, SIZES)
  shapes = model.abstract_variables()['params']
  rng = np.random.default_rng(1)
  drawn = {
    path: 0.05 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in parameters.flatten(shapes).items()
    if parameters.is_adapter(path)
  }
  params = parameters.unflatten({**parameters.flatten(base), **drawn})
  pattern = (
    parameters.EVERYTHING if method == 'full' else parameters.TRAINABLE_ADAPTERS
  )
  trainable, frozen = parameters.split(params, pattern)
  put = lambda tree: jax.device_put(tree, device)

  def loss(trainable: Tree, frozen: Tree, batch: Any) -> jax.Array:
    merged = parameters.merge(trainable, frozen)
    return model.loss_fn(merged, batch)[0] / batch_tokens

  batch_tokens = batch['decoder_target_tokens'].size
  step = jax.jit(jax.value_and_grad(loss))
  with jax.default_matmul_precision('highest'):
    value, found = step(put(trainable), put(frozen), put(batch))
  leaves = [np.ravel(x) for x in jax.tree.leaves(jax.device_get(found))]
  return float(value), np.concatenate(leaves).astype(np.float32)


def main(argv: list[str]) -> None:
  del argv
  flags.FLAGS.dtype = 'float32'
  base = jax.tree.map(np.asarray, train_step.make_base(SIZES))
  batch = train_step.make_batch(SIZES)
  device, cpu = jax.devices()[0], jax.devices('cpu')[0]
  for method in train_step.METHODS.value:
    loss, exact = gradients(method, 'float32', cpu, base, batch)
    for dtype in DTYPES.value:
      found_loss, found = gradients(method, dtype, device, base, batch)
      error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
      line = {
        'method': method,
        'dtype': dtype,
        'device': device.device_kind,
        'loss': abs(found_loss - loss) / loss,
        'gradient': float(error),
      }
      print(json.dumps(line), flush=True)


if __name__ == '__main__':
  app.run(main)
