"""Routers: which experts a token uses, and with what weight.

A router maps what it reads to weights over experts, and returns nothing else.
Its statistics are sown into the collection `routing`, from which the model
makes auxiliary losses, metrics and reports; where nobody asks for that
collection, nothing is computed for it.

Source: Zadouri et al., arXiv 2309.05444, section 2: `s = softmax(W_g^T x)`,
without bias, in float32.
"""

from moe_lite.routing.base import (
  COLLECTION,
  OF_EXPERTS,
  TOKENS,
  BaseRouter,
  RouterFactory,
  by_router,
  sum_examples,
)
from moe_lite.routing.context import EMBEDDING, Context, sentence
from moe_lite.routing.controls import HashRouter, UniformRouter
from moe_lite.routing.learned import (
  RNG,
  SENTENCES,
  Router,
  SoftRouter,
  TopKRouter,
)
from moe_lite.routing.shared import Decision, SharedRouter

__all__ = [
  'COLLECTION',
  'EMBEDDING',
  'OF_EXPERTS',
  'RNG',
  'SENTENCES',
  'TOKENS',
  'BaseRouter',
  'Context',
  'Decision',
  'HashRouter',
  'Router',
  'RouterFactory',
  'SharedRouter',
  'SoftRouter',
  'TopKRouter',
  'UniformRouter',
  'by_router',
  'sentence',
  'sum_examples',
]
