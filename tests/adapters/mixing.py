"""One site of matrices: golden arrays, and what a mixture adds there."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite import adapters, routing
from moe_lite.routing.context import Context
from tests.paths import ROOT

SITE = adapters.Site('wo', ('mlp',), ('embed',))
_LIBRARY = pathlib.Path(ROOT, 'tests', 'golden', 'library')


def golden(name: str) -> dict[str, np.ndarray]:
  """The arrays of a file in tests/golden/library."""
  with np.load(_LIBRARY / f'{name}.npz') as arrays:
    return dict(arrays)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def weigh(
  router: routing.BaseRouter,
  leaves: Mapping[str, Any],
  x: Any,
  context: Context | None = None,
) -> np.ndarray:
  """The weights of a router with these leaves."""
  variables = {'params': dict(leaves)}
  context = routing.Context() if context is None else context
  return np.asarray(router.apply(variables, x, 'mlp', context))


def molora(
  a: np.ndarray,
  router: routing.RouterFactory,
  scale: float = 1.0,
  averages: bool = False,
) -> adapters.MoLoRA:
  """The mixture for experts `a` [E, in, R], whose updates have this scale."""
  E, _, R = a.shape
  return adapters.MoLoRA(
    SITE,
    num_experts=E,
    rank=R,
    alpha=scale * R,
    router=router,
    averages=averages,
  )


def update(
  x: Any,
  a: np.ndarray,
  b: np.ndarray,
  router: routing.RouterFactory,
  leaves: Mapping[str, Any],
  context: Context | None = None,
  scale: float = 1.0,
  averages: bool = False,
) -> np.ndarray:
  """What a mixture of `a_e b_e` adds to the outputs, [B, L, out]."""
  params = {'a': a, 'b': b, 'router': dict(leaves)}
  if not leaves:
    del params['router']
  context = routing.Context() if context is None else context
  zeros = np.zeros((*x.shape[:2], b.shape[-1]), np.float32)
  return np.asarray(
    molora(a, router, scale, averages).apply(
      {'params': params}, x, zeros, context
    )
  )
