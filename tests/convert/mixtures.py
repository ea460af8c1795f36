"""Models with routed mixtures, and parameters away from the identity."""

import functools

import jax
import numpy as np

from moe_lite import adapters, routing

E = 3


ROUTERS = {
  'soft': routing.SoftRouter,
  'top-2': functools.partial(routing.TopKRouter, k=2),
  'top-1': functools.partial(routing.TopKRouter, k=1),
  'top-2 as released': functools.partial(
    routing.TopKRouter, k=2, renormalize=False
  ),
}


def mixtures(router=routing.SoftRouter):
  """Both kinds, reading either side, and an IA3 that stays."""
  mov = functools.partial(adapters.MoV, num_experts=E, router=router)
  molora = functools.partial(
    adapters.MoLoRA, num_experts=E, rank=2, alpha=3.0, router=router
  )
  return {
    'key': mov,
    'value': functools.partial(mov, router_reads='inputs'),
    'intermediate': mov,
    'query': molora,
    'wo': functools.partial(molora, router_reads='outputs'),
    'out': adapters.IA3,
  }


def draw(model, kernel):
  """Parameters away from the identity; routers' kernels times `kernel`."""
  rng = np.random.default_rng(0)

  def leaf(path, shape):
    name = parameters_path(path)
    if name.endswith('router/kernel'):
      return kernel * rng.normal(0, 1, shape.shape).astype(np.float32)
    if 'adapter/scale' in name or 'norm/scale' in name:
      return rng.normal(1, 0.3, shape.shape).astype(np.float32)
    return rng.normal(0, 0.3, shape.shape).astype(np.float32)

  shapes = model.abstract_variables()['params']
  return jax.tree_util.tree_map_with_path(leaf, shapes)


def parameters_path(path):
  return '/'.join(key.key for key in path)
