"""Auxiliary losses of routers, made from the statistics that they sow.

A router's sums over tokens, padding left out, are all that is read, so losses
know neither adapters nor networks. Each is a mean over tokens and over routers
(sites and layers), so that a weight means the same for any size.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Tree

# The losses as metrics, each by itself and without its weight.
METRICS = ('load_balance', 'router_z_loss', 'router_entropy')
# Statistics of one router, or with a leading axis of layers of a stack of them.
Sums = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class RouterLosses:
  """Weights of the losses; with all of them 0 nothing is computed.

  Attributes:
    load_balance: of `E * sum_e f_e P_e`, f_e the share of tokens whose
      likeliest expert is e and P_e its mean probability: 1 where both are
      uniform, E where one expert has everything. f has no gradient. Source:
      Switch Transformer, arXiv 2101.03961, equations 4 to 6. Of a soft router
      too f counts likeliest experts: all of its experts take part in every
      mixture, and a loss of that count would be constant.
    router_z_loss: of the mean of `logsumexp(logits)**2`, which keeps logits
      small (ST-MoE, arXiv 2202.08906, equation 5).
    entropy_bonus: of a token's entropy over experts in nats, subtracted: it
      draws each token's probabilities apart from a single expert.

  Raises:
    UserError: for a weight that is negative or no number.
  """

  load_balance: float = 0.0
  router_z_loss: float = 0.0
  entropy_bonus: float = 0.0

  def __post_init__(self):
    for field, weight in dataclasses.asdict(self).items():
      if not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise UserError(
          f'{field.upper()} = {weight!r} must be a number of at least 0; 0 '
          'turns it off.'
        )

  def __bool__(self) -> bool:
    return any(dataclasses.asdict(self).values())

  def needed(self, params: Tree, sums: Mapping[str, Sums]) -> dict[str, Sums]:
    """What `__call__` must know of a whole batch, of which there are parts.

    Args:
      params: merged parameters.
      sums: router's path to its statistics, of a part.

    Returns:
      Fewer statistics of fewer routers; those of all parts are to be added up.
    """
    names = ['tokens', *(['first'] if self.load_balance else [])]
    return {
      router: {name: of_router[name] for name in names}
      for router, of_router in self._learning(params, sums).items()
    }

  def __call__(
    self,
    params: Tree,
    sums: Mapping[str, Sums],
    whole: Mapping[str, Sums] | None = None,
  ) -> tuple[Array, dict[str, Array]]:
    """The weighted losses' sum, and each by itself without its weight.

    All add up over parts of a batch: what is not linear in a part, the shares
    of a load balance, is of the whole batch. Routers without parameters are
    left out.

    Args:
      params: merged parameters.
      sums: router's path to its statistics, of a part of a batch: `probability`
        and `first` [..., E], `square_logsumexp`, `entropy`, `tokens` [...].
      whole: those `needed`, of the whole batch; None where it is no part.

    Raises:
      UserError: if no router learns.
    """
    values: dict[str, list[Array]] = {name: [] for name in METRICS}
    learning = self._learning(params, sums)
    whole = learning if whole is None else whole
    for router, part in learning.items():
      tokens = jnp.maximum(whole[router]['tokens'], 1.0)
      if self.load_balance:
        share = whole[router]['first'] / tokens[..., None]
        mean = part['probability'] / tokens[..., None]
        balance = mean.shape[-1] * jnp.sum(share * mean, -1)
        values['load_balance'].append(balance)
      if self.router_z_loss:
        values['router_z_loss'].append(part['square_logsumexp'] / tokens)
      if self.entropy_bonus:
        values['router_entropy'].append(part['entropy'] / tokens)
    means = {
      name: jnp.mean(jnp.concatenate([jnp.ravel(x) for x in of_routers]))
      for name, of_routers in values.items()
      if of_routers
    }
    weights = {
      'load_balance': self.load_balance,
      'router_z_loss': self.router_z_loss,
      'router_entropy': -self.entropy_bonus,
    }
    total = sum(weights[name] * value for name, value in means.items())
    return jnp.float32(total), means

  def _learning(
    self, params: Tree, sums: Mapping[str, Sums]
  ) -> dict[str, Sums]:
    """Those of routers with parameters."""
    paths = flatten_dict(params, sep='/')
    learns = lambda router: any(p.startswith(f'{router}/') for p in paths)
    learning = {router: x for router, x in sums.items() if learns(router)}
    if not learning:
      weights = dataclasses.asdict(self).items()
      name, weight = next((name, x) for name, x in weights if x)
      raise no_routers(name.upper(), weight)
    return learning


def reported(sums: Mapping[str, Sums]) -> dict[str, Sums]:
  """The statistics that `routing_metrics` makes scalars of."""
  names = ('weight', 'entropy', 'tokens')
  return {
    router: {name: of_router[name] for name in names}
    for router, of_router in sums.items()
  }


def no_routers(macro: str, value: object) -> UserError:
  """The mistake of asking for what only routers have."""
  return UserError(
    f'{macro} = {value!r} is for routers that learn, and this method has none: '
    'leave it out, or train a method that routes, such as methods/mov.gin or '
    'methods/molora.gin.'
  )
