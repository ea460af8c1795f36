"""Routers: which experts a token uses, and with what weight.

A router reads a vector of each token and returns weights over experts. It
returns nothing else. Statistics of its decisions are sown into the collection
`routing`, and the model makes auxiliary losses, metrics and reports from them.
Where nobody asks for that collection, the statistics are not computed.

Source: Zadouri et al., arXiv 2309.05444, section 2: `s = softmax(W_g^T x)`,
without bias, in float32.

A thing belongs here if it decides which experts a token uses, or reads the
statistics that routers sow.
"""

from moe_lite.routing.context import Context, sentence
from moe_lite.routing.controls import HashRouter, UniformRouter
from moe_lite.routing.learned import (
  ROUTER_RNG,
  SENTENCES,
  Router,
  SoftRouter,
  TopKRouter,
)
from moe_lite.routing.prototypes import (
  ArrowRouter,
  GateRouter,
  PhatgooseRouter,
  PrototypeRouter,
  SpectrRouter,
)
from moe_lite.routing.router import (
  STATISTICS,
  TOKEN_STATISTICS,
  BaseRouter,
  RouterFactory,
)
from moe_lite.routing.shared import (
  Decision,
  DecisionFactory,
  SharedRouter,
  decide,
)
from moe_lite.routing.smear import SmearRouter
from moe_lite.routing.statistics import OF_EXPERTS, by_path, sum_examples
from moe_lite.routing.tasks import PolyRouter, TaskRouter

__all__ = [
  'ROUTER_RNG',
  'OF_EXPERTS',
  'SENTENCES',
  'STATISTICS',
  'TOKEN_STATISTICS',
  'ArrowRouter',
  'BaseRouter',
  'Context',
  'Decision',
  'DecisionFactory',
  'GateRouter',
  'HashRouter',
  'PhatgooseRouter',
  'PolyRouter',
  'PrototypeRouter',
  'Router',
  'RouterFactory',
  'SharedRouter',
  'SmearRouter',
  'SoftRouter',
  'SpectrRouter',
  'TaskRouter',
  'TopKRouter',
  'UniformRouter',
  'by_path',
  'decide',
  'sentence',
  'sum_examples',
]
